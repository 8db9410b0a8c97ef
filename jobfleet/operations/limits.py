"""The limits of queues and groups: set, clear, list and declare them; and strict sequences, to let one go on."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jobfleet.clock import moment, to_us
from jobfleet.errors import ConfigError, InvalidJob, UnknownGroup
from jobfleet.model import JobResult, seconds
from jobfleet.model.audit import from_word
from jobfleet.model.limits import (
    LIMIT,
    NO_LIMIT,
    Declaration,
    DeclaredLimit,
    Limit,
    LimitChange,
    LimitInfo,
    SequenceInfo,
    field_of,
)
from jobfleet.model.status import check_number
from jobfleet.model.templates import EVERY_GROUP, check_group
from jobfleet.operations.audit import Change, Outcome
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.cancel import cancel
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.lanes import lanes, opened_lanes
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.verb import Concurrency, Duration, GroupName, Name, Number, QueueName, Rate, Whole, verb
from jobfleet.store.call import Call
from jobfleet.store.calls import limits as calls
from jobfleet.store.calls.control import read_pause
from jobfleet.store.calls.limits import AGING, AS_IT_IS, PAUSED, Declared, SequenceRow, Settings, Used
from jobfleet.store.keys import Lane


def named_group(group: str | None) -> str | None:
    """Check the group of a limit: a group name, ``*`` for the default of all groups, or None for the queue.

    Raises:
        InvalidJob: It is none of these.
    """
    return group if group is None or group == EVERY_GROUP else check_group(group)


def _before(context: FleetContext, values: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    """The limits of a queue or of a group, as the audit has them."""
    rows: list[LimitInfo] = yield from listing(context, values["queue"])
    row = next((one for one in rows if one.group == values["group"]), None)
    return {} if row is None else _given({name: getattr(row, name) for name in LimitChange._fields})


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: values[name] for name in LimitChange._fields if values[name] is not None}
    return {name: NO_LIMIT if one == math.inf else one for name, one in found.items()}


def _set(before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {**(dict.fromkeys(before) if values["replace"] else before), **_given(values)}


def _cleared(before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict.fromkeys(before), **({"declared": False} if values["declared"] else {})}


CHANGED = "The limits of {target} are changed; they count from the next claim on."


@verb("limits.set", target=("queue", "group"), before=_before, change=_set, done=CHANGED)
def set_limit(
    context: FleetContext,
    queue: QueueName,
    *,
    group: Name | None = None,
    concurrency: Concurrency | None = None,
    rate: Rate | None = None,
    burst: Whole | None = None,
    weight: Number | None = None,
    aging: Duration | None = None,
    replace: bool = False,
) -> Operation[bool]:
    """Set the limits of a queue or of a group, for all workers together.

    Limits that are not given stay as they are. They apply from the next claim on; running jobs continue.

    Args:
        queue: The queue; it is created if it does not exist.
        group: A group of the queue; '*' for all groups without limits of their own.
        concurrency: Most jobs that run at once; 'none' exempts a group from the limit for all groups.
        rate: Most jobs that start in a time: 100/s, 10/min, 5/h.
        burst: Most jobs that start at once under the rate.
        weight: A group's share relative to others, 0.01 to 100; default 1.
        aging: Time after which a waiting job rises to the next priority; 0 means never.
        replace: Remove the limits that are not given.

    Raises:
        ConfigError: There are too many queues to create this one.
        InvalidJob: No limit is given; a value is wrong, does not apply to a queue, or does not apply to a group; or
            a limit of the whole queue is given and the queue has several lanes.
    """
    wanted = LimitChange(concurrency, rate, burst, weight, aging)
    wanted.check(group)
    named_group(group)
    limit = wanted.limit()
    every = yield from opened_lanes(context, queue)
    if group is None and len(every) > 1 and wanted.counted is not None:
        raise InvalidJob(
            f"{queue} has {len(every)} lanes, which count by themselves: a limit of the whole queue needs one lane. "
            "Give its jobs groups, and limit those.",
            field=wanted.counted,
        )
    if limit.burst is not None and limit.every_us is None:
        yield from _check_rate(every[0], queue, group, replace=replace)
    has_changed = (yield from _clear(every, group)) if replace else False
    if limit != Limit():
        has_changed = (yield from set_in_lanes(every, field_of(group), limit.change())) or has_changed
    if wanted.aging is not None:
        us = to_us(seconds(wanted.aging, field="aging"))
        has_changed = (yield from set_in_lanes(every, AGING, str(us) if us else "")) or has_changed
    return has_changed


def _check_rate(lane: Lane, queue: str, group: str | None, *, replace: bool) -> Operation[None]:
    seen: Settings = value((yield (calls.limits(lane),)))
    if replace or not seen.limit_of(group).every_us:
        raise InvalidJob(f"burst is for a rate, and {queue} has none there; give rate too.", field="burst")


@verb("limits.clear", target=("queue", "group"), before=_before, change=_cleared, done=CHANGED)
def clear(
    context: FleetContext, queue: QueueName, *, group: Name | None = None, declared: bool = False
) -> Operation[bool]:
    """Delete the limits that were set for a queue, also its aging, or for a group.

    A limit that a function declares there in code applies again.

    Args:
        queue: The queue.
        group: A group of the queue; '*' for the default of all groups.
        declared: Also delete the limit that functions declare in code.

    Raises:
        ConfigError: The queue does not exist.
        InvalidJob: `group` is not a group name.
    """
    named_group(group)
    every = yield from lanes(context, queue)
    has_changed = yield from _clear(every, group)
    return ((yield from remove_declared(every, group)) if declared else False) or has_changed


def _clear(every: list[Lane], group: str | None) -> Operation[bool]:
    has_changed = yield from set_in_lanes(every, field_of(group), "")
    if group is None:
        has_changed = (yield from set_in_lanes(every, AGING, "")) or has_changed
    return has_changed


def listing(context: FleetContext, queue: str | None = None) -> Operation[list[LimitInfo]]:
    """List the limits of a queue or of all queues: first the limit of the queue, then those of its groups by name.

    Raises:
        ConfigError: The queue does not exist.
    """
    by_queue: dict[str, list[Lane]] = {}
    for lane in (yield from lanes(context, queue)):
        by_queue.setdefault(lane.queue, []).append(lane)
    rows: list[LimitInfo] = []
    for every in by_queue.values():
        rows += yield from _rows(every)
    return rows


def _rows(every: list[Lane]) -> Operation[list[LimitInfo]]:
    queue = every[0].queue
    seen: list[Settings] = [value([answer]) for answer in (yield [calls.limits(lane) for lane in every])]
    fields = seen[0].fields
    groups = sorted({name.partition(":")[2] for name in fields if name.startswith(("limit:", PAUSED))})
    used = yield from _used(every, [group for group in groups if group != EVERY_GROUP])
    rows = [_info(queue, group, seen[0], used.get(group, Used(0, 0))) for group in groups]
    if LIMIT in fields or AGING in fields:
        whole = Used(sum(one.used.running for one in seen), seen[0].used.full)
        rows.insert(0, _info(queue, None, seen[0], whole))
    return rows


def _used(every: list[Lane], groups: list[str]) -> Operation[dict[str, Used]]:
    found: dict[str, Used] = {}
    for part in batches(groups, calls.CHUNK):
        asked: list[Call[Any]] = [calls.limits(lane, part) for lane in every]
        for answer in (yield asked):
            for group, one in value([answer]).groups.items():
                before = found.get(group, Used(0, 0))
                found[group] = Used(before.running + one.running, max(before.full, one.full))
    return found


def _info(queue: str, group: str | None, seen: Settings, used: Used) -> LimitInfo:
    limit = seen.limit_of(group)
    paused = seen.fields.get(f"{PAUSED}{group}", "")
    pause = read_pause(paused)
    aging = seen.fields.get(AGING) if group is None else None
    declared = seen.declared.get(field_of(group))
    most = None if declared is None else declared.limit.concurrency
    return LimitInfo(
        queue,
        group,
        **limit.shown(),
        aging=int(aging) / 1e6 if aging else None,
        running=used.running,
        next_token=limit.next_token(used.full, seen.now),
        paused=from_word(paused.partition("@")[0]) or None,
        paused_at=moment(pause.at),
        paused_reason=pause.reason,
        declared_concurrency=None if most is None else int(most),
        declared_rate=None if declared is None else declared.limit.rate,
        declared_by=() if declared is None else declared.functions,
    )


def set_in_lanes(every: Sequence[Lane], field: str, text: str) -> Operation[bool]:
    """Set or clear a field; return whether it changed.

    Args:
        every: The lanes.
        field: See `field_of`, or `AGING`.
        text: The value; empty to clear it.

    Raises:
        InvalidJob: Too many groups have limits of their own.
    """
    has_changed = False
    for lane in every:
        count, skip = calls.CHUNK, 0
        while count == calls.CHUNK:
            answer = value((yield (calls.set_limit(lane, field, text, skip=skip),)))
            if answer is None:
                raise InvalidJob(
                    f"{calls.MOST_GROUPS:,} groups of {lane.queue} have limits of their own, which is the most; set "
                    "the default of all groups, '*', instead.",
                    field="group",
                )
            changed, count = answer
            has_changed, skip = has_changed or changed, skip + count
    return has_changed


def declare(
    every: Sequence[Lane],
    limits: Mapping[str, DeclaredLimit],
    functions: Iterable[str],
    *,
    only: Collection[Lane] | None = None,
) -> Operation[dict[str, tuple[str, ...]]]:
    """Store the limits that the functions of a process declare for a queue; remove what they declared before.

    Args:
        every: The lanes of the queue.
        limits: The limits by the name of the function.
        functions: The names of all functions of the process.
        only: The lanes in which to store them now; by default all.

    Returns:
        Where other functions declared another limit, which is replaced: these functions by the name of one that
        declares the new limit.

    Raises:
        ConfigError: A limit of the whole queue is declared, and the queue has several lanes; or too many groups have
            limits.
    """
    wanted: dict[str, Declaration] = {}
    for name, declared in limits.items():
        if declared.group is None and len(every) > 1:
            raise ConfigError(
                f"{name} declares {declared} for {declared.place}, which has {len(every)} lanes, which count by "
                "themselves; give the function a group, to limit each group."
            )
        field = field_of(declared.group)
        before = wanted.get(field)
        also = before.functions if before is not None and before.limit == declared.limit else ()
        wanted[field] = Declaration(declared.limit, (*also, name))
    names = tuple(functions)
    replaced: dict[str, tuple[str, ...]] = {}
    for lane in every if only is None else [lane for lane in every if lane in only]:
        answer: Declared | None = value((yield (calls.declare(lane, wanted, names),)))
        if answer is None:
            raise ConfigError(
                f"{calls.MOST_GROUPS:,} groups of {lane.queue} have limits of their own, which is the most; declare a "
                "limit of each group in place of limits of single groups."
            )
        for field in answer.changed:
            yield from set_in_lanes([lane], field, AS_IT_IS)
        replaced |= {wanted[field].functions[0]: others for field, others in answer.replaced.items()}
    return replaced


def remove_declared(every: Sequence[Lane], group: str | None) -> Operation[bool]:
    """Remove a declared limit of a queue, or of a group; return whether there was one.

    A worker whose functions still declare it stores it again when it starts.
    """
    declared = value((yield (calls.limits(every[0]),))).declared.get(field_of(group))
    if declared is None:
        return False
    yield from declare(every, {}, declared.functions)
    return True


SHOWN = 20
"""How many of the jobs behind the head are named."""
LISTED_MOST = 10_000
ENDED: dict[str, Any] = {"parked": "parked", "failing": "failing"}


class FoundSequence(NamedTuple):
    """A sequence and its lane."""

    lane: Lane
    info: SequenceInfo


def list_sequences(context: FleetContext, queue: str | None, limit: int) -> Operation[list[SequenceInfo]]:
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


def find_sequence(context: FleetContext, group: str, queue: str | None) -> Operation[FoundSequence]:
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
        text = f"Several queues have a sequence {group!r}: {names}. Give the queue, as --queue or queue."
        raise ConfigError(text, field="queue")
    lane, now, rows = found[0]
    (info,) = yield from _infos(context, lane, now, rows)
    return FoundSequence(lane, info)


def _infos(context: FleetContext, lane: Lane, now: int, rows: list[SequenceRow]) -> Operation[list[SequenceInfo]]:
    heads: list[JobResult[Any] | None] = (yield from poll_many(context, [row.head for row in rows])) if rows else []
    return [_sequence_info(lane.queue, now, row, head) for row, head in zip(rows, heads, strict=True)]


def _sequence_info(queue: str, now: int, row: SequenceRow, head: JobResult[Any] | None) -> SequenceInfo:
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


def show_sequence(context: FleetContext, group: str, queue: str | None) -> Operation[SequenceInfo]:
    """Return a sequence with the first jobs behind its head.

    Raises:
        InvalidJob, UnknownQueue, UnknownGroup, ConfigError: As in `find`.
    """
    return (yield from find_sequence(context, group, queue)).info


def _head(context: FleetContext, values: Mapping[str, Any]) -> Operation[Change]:
    info = (yield from find_sequence(context, values["group"], values["queue"])).info
    return Change({}, {"head": info.head}, f"{info.queue}:{info.group}")


@verb(
    "groups.resume", target=("group", "queue"), before=_head, route="/groups/{group}/resume",
    recorded="sequence.resume", done="{group} continues.", unchanged="{group} was not parked.",
)  # fmt: skip
def resume_sequence(context: FleetContext, group: GroupName, *, queue: QueueName | None = None) -> Operation[bool]:
    """Let a parked sequence go on with the job behind its head, which stays a dead letter.

    To run the head again instead, replay it: it takes its old place. A pause ends with 'jobfleet queues resume'.

    Args:
        group: The name of the sequence: its group.
        queue: Its queue, if several queues have a sequence of this name.

    Returns:
        False if it was not parked.

    Raises:
        ConfigError: Several queues have such a sequence.
        InvalidJob: The name is not valid.
        UnknownGroup: It has no open job and is not parked.
        UnknownQueue: There is no such queue.
    """
    lane, info = yield from find_sequence(context, group, queue)
    if info.state == "open":
        return False
    return bool(value((yield (calls.unpark(lane, group, info.head),))))


def _skipped(values: Mapping[str, Any], head: str | None) -> str:
    name = values["group"]
    return f"{name}: skipped {head}." if head else f"{name}: its head ended in this moment; nothing was skipped."


@verb(
    "groups.skip", target=("group", "queue"), before=_head, route="/groups/{group}/skip", recorded="sequence.skip",
    result="skipped", done=_skipped, end=lambda head: Outcome("done" if head else "unchanged"), fails_unchanged=True,
)  # fmt: skip
def skip_head(
    context: FleetContext, group: GroupName, *, queue: QueueName | None = None, by: str | None = None
) -> Operation[str | None]:
    """End the head of a sequence, so that the next job follows.

    A head that waits is cancelled, and one that runs is asked to stop. Behind a head that has failed, the sequence
    continues.

    Args:
        group: The name of the sequence: its group.
        queue: Its queue, if several queues have a sequence of this name.

    Returns:
        The id of the head; None if it ended in this moment.

    Raises:
        ConfigError: Several queues have such a sequence.
        InvalidJob: The name is not valid.
        UnknownGroup: It has no open job and is not parked.
        UnknownQueue: There is no such queue.
    """
    lane, info = yield from find_sequence(context, group, queue)
    if info.state == "open":
        has_acted = yield from cancel(context, info.head, by)
    else:
        has_acted = value((yield (calls.unpark(lane, group, info.head),)))
    return info.head if has_acted else None
