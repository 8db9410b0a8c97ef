"""Set, clear and list the limits of queues and groups."""

from __future__ import annotations

from typing import Any

from jobfleet.clock import to_us
from jobfleet.errors import InvalidJob
from jobfleet.model import seconds
from jobfleet.model.audit import from_word
from jobfleet.model.limits import LIMIT, Limit, LimitChange, LimitInfo, field_of
from jobfleet.model.templates import EVERY_GROUP, check_group
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes, opened_lanes
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.queues.declared import remove_declared
from jobfleet.operations.queues.setting import set_in_lanes
from jobfleet.operations.results import moment
from jobfleet.store.call import Call
from jobfleet.store.calls import limits as calls
from jobfleet.store.calls.control import read_pause
from jobfleet.store.calls.limits import AGING, PAUSED, Settings, Used
from jobfleet.store.keys import Lane


def named_group(group: str | None) -> str | None:
    """Check the group of a limit: a group name, ``*`` for the default of all groups, or None for the queue.

    Raises:
        InvalidJob: It is none of these.
    """
    return group if group is None or group == EVERY_GROUP else check_group(group)


def set_limit(
    context: FleetContext, queue: str, group: str | None, wanted: LimitChange, *, replace: bool = False
) -> Operation[bool]:
    """Change the limits of a queue or of a group; False when they were so before.

    Args:
        context: The context of the fleet.
        queue: The queue.
        group: A group of it, ``*`` for the default of all groups, or None for the queue as a whole.
        wanted: The limits to change.
        replace: Remove the limits that are not among `wanted`; otherwise these stay. A wrong value changes nothing.

    Raises:
        ConfigError: There are too many queues to create this one.
        InvalidJob: A value is wrong, does not apply to a queue, or does not apply to a group; or a limit of the whole
            queue is given and the queue has several lanes.
    """
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


def clear(context: FleetContext, queue: str, group: str | None, *, declared: bool = False) -> Operation[bool]:
    """Remove the limits that are set for a queue, also its aging, or for a group; False when there were none.

    Args:
        context: The context of the fleet.
        queue: The queue.
        group: A group of it, ``*`` for the default of all groups, or None for the queue as a whole.
        declared: Remove the limit that functions declare there too.

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
