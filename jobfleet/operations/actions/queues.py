"""Actions on queues, groups, functions and limits, as the audit records them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from jobfleet.model.limits import LimitChange, LimitInfo, SequenceInfo
from jobfleet.operations.audit import Action, Change, Outcome
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.queues.limits import listing
from jobfleet.operations.queues.pause import Place
from jobfleet.store.calls import inspect, limits
from jobfleet.store.calls.control import Pause, paused, read_functions, read_pause

LIMITS = ("concurrency", "rate", "burst", "weight", "aging")


def pause(context: FleetContext, place: Place, reason: str | None) -> Action:
    """A pause."""
    after = {"paused": True, **({"reason": reason} if reason else {})}
    return Action(f"{_kind(place)}.pause", _name(place), after, partial(_paused, context, place, after))


def resume(context: FleetContext, place: Place) -> Action:
    """The end of a pause."""
    after = {"paused": False}
    return Action(f"{_kind(place)}.resume", _name(place), after, partial(_paused, context, place, after))


def _kind(place: Place) -> str:
    return "function" if place.function is not None else "queue" if place.group is None else "group"


def _name(place: Place) -> str:
    queue, group, function = place
    if function is not None:
        return f"{function} in {queue}" if queue is not None else f"{function}"
    return of_queue(f"{queue}", group)


def of_queue(queue: str, group: str | None) -> str:
    """A queue or one of its groups as a target."""
    return queue if group is None else f"{queue}:{group}"


def _paused(context: FleetContext, place: Place, after: Mapping[str, Any]) -> Operation[Change]:
    found = yield from _pause_of(context, place)
    if found is None:
        return Change({"paused": False}, after)
    facts = {"paused_by": found.by, "reason": found.reason}
    return Change({"paused": True, **{name: text for name, text in facts.items() if text}}, after)


def _pause_of(context: FleetContext, place: Place) -> Operation[Pause | None]:
    queue, group, function = place
    if queue is None:
        return read_functions(value((yield (paused(context.keys),)))).get(str(function))
    lane = context.keys.lane(queue, 0)
    if group is not None:
        text = value((yield (limits.limits(lane),))).fields.get(f"{limits.PAUSED}{group}", "")
        return read_pause(text) if text else None
    counts = value((yield (inspect.counts(lane),)))
    if function is not None:
        return read_functions(counts.functions).get(function)
    return None if counts.paused is None else Pause(counts.paused, 0, counts.reason)


def set_durability(context: FleetContext, queue: str, durability: str | None) -> Action:
    """A change of the durability of a queue."""

    def look() -> Operation[Change]:
        counts = value((yield (inspect.counts(context.keys.lane(queue, 0)),)))
        return Change({"durability": counts.durability or None}, {"durability": durability})

    return Action("queue.durability", f"{queue}", {"durability": durability}, look)


def purge(queue: str) -> Action:
    """The cancellation of all waiting jobs of a queue."""
    return Action("queue.purge", f"{queue}")


def remove(queue: str, *, purge: bool) -> Action:
    """The removal of a queue."""
    return Action("queue.remove", f"{queue}", {"purge": purge}, end=lambda letters: Outcome("done", letters))


def skip_head(seen: SequenceInfo) -> Action:
    """The end of the head of a strict sequence."""
    return Action("sequence.skip", of_queue(seen.queue, seen.group), {"head": seen.head})


def resume_sequence(seen: SequenceInfo) -> Action:
    """The end of the parking of a strict sequence."""
    return Action("sequence.resume", of_queue(seen.queue, seen.group), {"head": seen.head})


def set_limit(context: FleetContext, queue: str, group: str | None, wanted: LimitChange, *, replace: bool) -> Action:
    """A change of the limits of a queue or of a group."""
    given = {name: _shown(one) for name, one in wanted._asdict().items() if one is not None}

    def look() -> Operation[Change]:
        before = yield from _limits(context, queue, group)
        return Change(before, {**dict.fromkeys(before), **given} if replace else {**before, **given})

    return Action("limit.set", of_queue(queue, group), given, look)


def clear_limit(context: FleetContext, queue: str, group: str | None, *, declared: bool) -> Action:
    """The deletion of the limits of a queue or of a group."""
    after = {"declared": False} if declared else {}

    def look() -> Operation[Change]:
        before = yield from _limits(context, queue, group)
        return Change(before, {**dict.fromkeys(before), **after})

    return Action("limit.clear", of_queue(queue, group), after, look)


def _limits(context: FleetContext, queue: str, group: str | None) -> Operation[dict[str, Any]]:
    rows: list[LimitInfo] = yield from listing(context, queue)
    row = next((one for one in rows if one.group == group), None)
    found = {name: getattr(row, name) for name in LIMITS} if row is not None else {}
    return {name: _shown(one) for name, one in found.items() if one is not None}


def _shown(number: Any) -> Any:
    return "none" if isinstance(number, float) and math.isinf(number) else number
