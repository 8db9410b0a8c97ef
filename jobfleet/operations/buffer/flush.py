"""Enqueue buffered jobs, in their order, under the ids that they were given."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jobfleet.clock import to_us
from jobfleet.errors import ConfigError, DuplicateJob, FleetFull, InvalidJob, JobfleetError, StoreUnavailable
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs import conflicts
from jobfleet.operations.jobs.prepare import Submission
from jobfleet.operations.lanes import open_queue
from jobfleet.operations.operation import Operation
from jobfleet.store.calls.enqueue import QueueNotCreated, enqueue, parted
from jobfleet.store.keys import Lane
from jobfleet.store.records import Answer, Entry, Holder


class Kept(NamedTuple):
    """A job in the buffer.

    Attributes:
        sent: The job as it was prepared.
        at: When it was prepared, in seconds since boot.
    """

    sent: Submission
    at: float


Refusals = dict[int, JobfleetError]
"""The errors of the jobs that Redis refused for good, by place."""
_Part = Sequence[tuple[int, Entry]]


def flush(context: FleetContext, kept: Sequence[Kept], now: float) -> Operation[Refusals]:
    """Enqueue buffered jobs. Safe to repeat: a job that Redis already has is not enqueued again.

    Args:
        context: The context of the fleet.
        kept: The jobs.
        now: The time, in seconds since boot.

    Returns:
        The errors of the jobs that Redis refused for good.

    Raises:
        StoreUnavailable: Redis is still unavailable. Some of the jobs may be enqueued.
        FleetFull: Redis has no memory left for them now.
        ConfigError: Redis refuses this client.
    """
    refusals: Refusals = {}
    yield from _open_queues(context, kept, refusals)
    lanes: dict[Lane, list[tuple[int, Entry]]] = {}
    for place, (sent, at) in enumerate(kept):
        if place not in refusals:
            lanes.setdefault(sent.lane, []).append((place, aged(sent.entry, max(0, to_us(now - at)))))
    held: dict[int, Holder] = {}
    yield from _send({lane: deque(ascending(entries)) for lane, entries in lanes.items()}, refusals, held)
    found = [conflicts.Conflict(_with(kept[place].sent, now - kept[place].at), held[place]) for place in held]
    for place, receipt in zip(held, (yield from conflicts.settle(found)), strict=True):
        if receipt.error is not None:
            refusals[place] = _final(receipt.error)
        elif receipt.id != kept[place].sent.entry.id:
            refusals[place] = DuplicateJob(receipt.id)
    return refusals


def aged(entry: Entry, by_us: int) -> Entry:
    """Return an entry whose relative times count from a moment `by_us` later."""
    when, meta = entry.when, entry.meta
    if when.startswith("+"):
        when = _sooner(when, by_us)
    if "x +" in meta:
        lines = (f"x {_sooner(line[2:], by_us)}" if line.startswith("x +") else line for line in meta.split("\n"))
        meta = "\n".join(lines)
    return entry._replace(when=when, meta=meta)


def _sooner(delay: str, by_us: int) -> str:
    return f"+{max(0, int(delay) - by_us)}"


def _with(sent: Submission, seconds: float) -> Submission:
    return sent._replace(entry=aged(sent.entry, max(0, to_us(seconds))))


def _open_queues(context: FleetContext, kept: Sequence[Kept], refusals: Refusals) -> Operation[None]:
    """Open the queues of the jobs; refuse the jobs of a queue that cannot be created, or that has lost lanes."""
    errors: dict[str, JobfleetError] = {}
    for queue in dict.fromkeys(one.sent.lane.queue for one in kept):
        if not context.has_queue(queue):
            try:
                yield from open_queue(context, queue, holds_jobs=True)
            except QueueNotCreated as error:
                errors[queue] = error
    for place, (sent, _) in enumerate(kept):
        queue = sent.lane.queue
        if queue in errors:
            refusals[place] = errors[queue]
        elif sent.lane.index >= context.queues[queue].total:
            refusals[place] = InvalidJob(
                f"Queue {queue!r} was created again with fewer lanes while the job was in the buffer.", field="queue"
            )


def ascending(entries: _Part) -> Iterator[_Part]:
    """Split the entries of a lane into parts for one call each, with ascending ids.

    The jobs of one call are due at the same moment, and Redis then sorts them by id.
    """
    first = 0
    for place in range(1, len(entries) + 1):
        if place == len(entries) or entries[place][1].id <= entries[place - 1][1].id:
            yield from parted(entries[first:place], lambda one: one[1])
            first = place


def _send(parts: dict[Lane, deque[_Part]], refusals: Refusals, held: dict[int, Holder]) -> Operation[None]:
    """Send the calls of each lane one after the other: of two calls in flight, the second might run first.

    The jobs of a call that failed are sent one by one, so that no job spoils another.
    """
    while parts:
        answers = yield [enqueue(lane, [entry for _, entry in left[0]]) for lane, left in parts.items()]
        for (lane, left), answer in zip(list(parts.items()), answers, strict=True):
            part = left.popleft()
            if not isinstance(answer, JobfleetError):
                held |= _holders(part, answer)
            elif len(part) == 1:
                refusals[part[0][0]] = _final(answer)
            else:
                _final(answer)
                left.extendleft([one] for one in reversed(part))
            if not left:
                del parts[lane]


def _holders(part: _Part, answers: Sequence[Answer]) -> dict[int, Holder]:
    return {place: one for (place, _), one in zip(part, answers, strict=True) if isinstance(one, Holder)}


def _final(error: JobfleetError) -> JobfleetError:
    """Return an error that a later attempt would have, too; raise one that may pass."""
    if isinstance(error, StoreUnavailable | FleetFull | ConfigError):
        raise error
    return error
