"""List strict sequences, and let one go on: skip its head, or resume a parked one."""

from __future__ import annotations

from typing import Any, NamedTuple

from jobfleet.errors import ConfigError, UnknownGroup
from jobfleet.model import JobResult
from jobfleet.model.limits import SequenceInfo
from jobfleet.model.status import check_number
from jobfleet.model.templates import check_group
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.cancel import cancel
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import moment
from jobfleet.store.calls import limits as calls
from jobfleet.store.calls.limits import SequenceRow
from jobfleet.store.keys import Lane

SHOWN = 20
"""How many of the jobs behind the head are named."""
LISTED_MOST = 10_000
ENDED: dict[str, Any] = {"parked": "parked", "failing": "failing"}


class Found(NamedTuple):
    """A sequence and its lane."""

    lane: Lane
    info: SequenceInfo


def listing(context: FleetContext, queue: str | None, limit: int) -> Operation[list[SequenceInfo]]:
    """List the sequences of a queue, or of all queues, by name.

    Raises:
        UnknownQueue: The queue does not exist.
        InvalidJob: `limit` is not a whole number from 1.
    """
    check_number(limit)
    most = min(limit, LISTED_MOST)
    found: list[SequenceInfo] = []
    for lane in (yield from lanes(context, queue)):
        after = ""
        while len(found) < most:
            now, rows = value((yield (calls.sequences(lane, after=after, limit=min(calls.CHUNK, most - len(found))),)))
            found += yield from _infos(context, lane, now, rows)
            if len(rows) < calls.CHUNK:
                break
            after = rows[-1].group
    return sorted(found, key=lambda one: (one.queue, one.group))


def find(context: FleetContext, group: str, queue: str | None) -> Operation[Found]:
    """Find a sequence by its name.

    Raises:
        InvalidJob: The name is not a name of a group.
        UnknownQueue: The queue does not exist.
        UnknownGroup: No sequence of this name has open jobs or is parked.
        ConfigError: Several queues have such a sequence, and none is given.
    """
    check_group(group)
    every = yield from lanes(context, queue)
    answers = (yield [calls.sequences(lane, group, limit=SHOWN) for lane in every]) if every else []
    pages: list[tuple[int, list[SequenceRow]]] = [value([answer]) for answer in answers]
    found = [(lane, now, rows) for lane, (now, rows) in zip(every, pages, strict=True) if rows]
    if not found:
        where = f" in {queue!r}" if queue else ""
        text = f"No strict sequence {group!r}{where} has open jobs or is parked; 'jobfleet groups ls' lists them."
        raise UnknownGroup(group, text)
    if len(found) > 1:
        names = ", ".join(sorted(lane.queue for lane, _, _ in found))
        raise ConfigError(f"Several queues have a sequence {group!r}: {names}. Give the queue, as --queue or queue.")
    lane, now, rows = found[0]
    (info,) = yield from _infos(context, lane, now, rows)
    return Found(lane, info)


def _infos(context: FleetContext, lane: Lane, now: int, rows: list[SequenceRow]) -> Operation[list[SequenceInfo]]:
    heads: list[JobResult[Any] | None] = (yield from poll_many(context, [row.head for row in rows])) if rows else []
    return [_info(lane.queue, now, row, head) for row, head in zip(rows, heads, strict=True)]


def _info(queue: str, now: int, row: SequenceRow, head: JobResult[Any] | None) -> SequenceInfo:
    return SequenceInfo(
        queue,
        row.group,
        ENDED.get(row.state, "open"),
        row.head,
        None if head is None else head.status,
        moment(row.due) if row.due > now else None,
        None if head is None else head.error,
        row.waiting,
        row.ids[:SHOWN],
        row.signal or None,
    )


def show(context: FleetContext, group: str, queue: str | None) -> Operation[SequenceInfo]:
    """Return a sequence with the first jobs behind its head.

    Raises:
        InvalidJob, UnknownQueue, UnknownGroup, ConfigError: As in `find`.
    """
    return (yield from find(context, group, queue)).info


def resume(context: FleetContext, group: str, queue: str | None) -> Operation[bool]:
    """Let a parked sequence go on behind its head; False if it is not parked.

    Raises:
        InvalidJob, UnknownQueue, UnknownGroup, ConfigError: As in `find`.
    """
    lane, info = yield from find(context, group, queue)
    if info.state == "open":
        return False
    return bool(value((yield (calls.unpark(lane, group, info.head),))))


def skip(context: FleetContext, group: str, queue: str | None, by: str | None) -> Operation[str | None]:
    """End the head of a sequence, so that the next job follows; return its id, or None if it has ended meanwhile.

    A head that waits is cancelled, and one that runs is asked to stop. Of a parked sequence, the head has ended before.

    Raises:
        InvalidJob, UnknownQueue, UnknownGroup, ConfigError: As in `find`.
    """
    lane, info = yield from find(context, group, queue)
    if info.state == "open":
        has_acted = yield from cancel(context, info.head, by)
    else:
        has_acted = value((yield (calls.unpark(lane, group, info.head),)))
    return info.head if has_acted else None
