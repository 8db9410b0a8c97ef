"""Checks of jobs that wait for a limit or a circuit breaker. Each function returns one reason, or None. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from shlex import quote

from jobfleet.clock import span
from jobfleet.functions.manifest import read_gates
from jobfleet.model.limits import BREAKER, LIMIT, BreakerInfo, NamedLimit
from jobfleet.model.result import Fact, Reason, ReasonCode
from jobfleet.operations.explain.hindrances import asked_by, because, listed
from jobfleet.operations.explain.snapshot import Snapshot
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.gates import breaker_info, limit_info, repair
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.verb import counted
from jobfleet.store.calls import limits as calls
from jobfleet.store.calls.inspect import Grouped, Limited


def group_paused(seen: Snapshot) -> Reason | None:
    """Explain a job whose group is paused."""
    group = seen.lane.group
    if group is None or not group.paused_by or seen.job is None:
        return None
    gone, queue = seen.ago(group.paused_at), seen.job.queue
    text = f"Group {group.name!r} was paused{asked_by(group.paused_by)} {span(gone)} ago"
    text += f"{because(group.paused_reason)}; 'jobfleet queues resume {queue} --group {quote(group.name)}' opens it."
    by = None if group.paused_by == "-" else group.paused_by
    facts: dict[str, Fact] = {"group": group.name, "by": by, "since": gone}
    if group.paused_reason:
        facts["reason"] = group.paused_reason
    return Reason(ReasonCode.GROUP_PAUSED, text, facts)


def group_full(seen: Snapshot) -> Reason | None:
    """Its group has reached its concurrency limit."""
    group = seen.lane.group
    if group is None or not seen.is_due or not _is_full(group.limit):
        return None
    running, most = group.limit.running, group.limit.most
    more = running - len(group.holders)
    held = listed(group.holders) + (f" and {more:,} more" if more > 0 else "")
    text = f"Group {group.name!r} is full: {running:,} of {most:,} run, held by {held}.{_origin(group.limit.most_by)}"
    return Reason(ReasonCode.GROUP_FULL, text, _use(group.limit, group=group))


def group_rate(seen: Snapshot) -> Reason | None:
    """Its group has used up its rate."""
    group = seen.lane.group
    if group is None or not seen.is_due or not group.limit.token:
        return None
    left = -seen.ago(group.limit.token)
    text = f"Group {group.name!r} has used up its rate: its next job may start in {span(left)}."
    text += _origin(group.limit.rate_by)
    facts: dict[str, Fact] = {"group": group.name, "next_in": left, **_declared(group.limit.rate_by)}
    return Reason(ReasonCode.GROUP_RATE, text, facts)


def queue_full(seen: Snapshot) -> Reason | None:
    """Its queue has reached its concurrency limit."""
    limit = seen.lane.limit
    if limit is None or seen.job is None or not seen.is_due or not _is_full(limit):
        return None
    text = f"Queue {seen.job.queue!r} is full: {limit.running:,} of {limit.most:,} run.{_origin(limit.most_by)}"
    return Reason(ReasonCode.QUEUE_FULL, text, _use(limit))


def queue_rate(seen: Snapshot) -> Reason | None:
    """Its queue has used up its rate."""
    limit = seen.lane.limit
    if limit is None or seen.job is None or not seen.is_due or not limit.token:
        return None
    left = -seen.ago(limit.token)
    text = f"Queue {seen.job.queue!r} has used up its rate: the next job may start in {span(left)}."
    text += _origin(limit.rate_by)
    return Reason(ReasonCode.QUEUE_RATE, text, {"next_in": left, **_declared(limit.rate_by)})


def behind_in_group(seen: Snapshot) -> Reason | None:
    """Other jobs of its group are claimed before it, or other groups take turns with its group."""
    group = seen.lane.group
    if group is None or not seen.is_due or not (group.ahead or group.turns > 1):
        return None
    text = f"{counted(group.ahead, 'job')} of its group {group.name!r} ahead of it"
    text += f"; {group.turns:,} groups of its priority take turns." if group.turns > 1 else "."
    return Reason(ReasonCode.BEHIND, text, {"group": group.name, "ahead": group.ahead, "turns": group.turns})


def _origin(functions: Sequence[str]) -> str:
    """Where a limit comes from, if functions declare it; begins with a space."""
    return f" {listed(functions)} {'declares' if len(functions) == 1 else 'declare'} this limit." if functions else ""


def _declared(functions: Sequence[str]) -> dict[str, Fact]:
    return {"declared_by": tuple(functions)} if functions else {}


def _is_full(limit: Limited) -> bool:
    return 0 < limit.most <= limit.running


def _use(limit: Limited, group: Grouped | None = None) -> dict[str, Fact]:
    facts: dict[str, Fact] = {"running": limit.running, "most": limit.most, **_declared(limit.most_by)}
    return facts if group is None else {"group": group.name, **facts, "holders": group.holders}


def gates_of(
    context: FleetContext, record: bytes | None, function: str, queue: str, group: str | None
) -> Operation[tuple[NamedLimit | BreakerInfo, ...]]:
    """Read the limits and the breaker of a job.

    Args:
        context: The context of the fleet.
        record: The published record of its function.
        function: The name of the function.
        queue: The job's queue.
        group: Its group.
    """
    limits, per = read_gates(record or b"")
    names = [f"{LIMIT}:{name}" for name in limits]
    if per == "group" and group is not None:
        names.append(f"{BREAKER}group:{queue}:{group}")
    elif per:
        names.append(f"{BREAKER}{per}" if per.startswith(LIMIT) else f"{BREAKER}function:{function}")
    if not names:
        return ()
    now, rows = value((yield (calls.gates(context.keys, names),)))
    return tuple(
        limit_info(row, now) if row.name.startswith(f"{LIMIT}:") else breaker_info(row, now)
        for row in rows
        if row.fields or row.unreadable
    )


def _limits(seen: Snapshot) -> list[NamedLimit]:
    return [one for one in seen.gates if isinstance(one, NamedLimit)] if seen.job is not None else []


def gate_unreadable(seen: Snapshot) -> Reason | None:
    """A named limit or the circuit breaker of it cannot be read."""
    for one in seen.gates if seen.job is not None else ():
        if one.unreadable:
            what = "Limit" if isinstance(one, NamedLimit) else "Breaker"
            text = f"{what} {one.name!r} cannot be read: {one.unreadable}. {repair(one)}"
            return Reason(ReasonCode.GATE_UNREADABLE, text, {"gate": one.name, "unreadable": one.unreadable})
    return None


def limit_closed(seen: Snapshot) -> Reason | None:
    """A named limit of it is closed."""
    for limit in _limits(seen):
        if limit.closed_for:
            is_for_ever = limit.closed_for == math.inf
            until = f"'jobfleet limits open {limit.name}' opens it" if is_for_ever else f"opens {_in(limit.closed_for)}"
            by = f" by {limit.by}" if limit.by else ""
            text = f"Limit {limit.name!r} was closed{by}{because(limit.reason)}; {until}."
            facts: dict[str, Fact] = {"limit": limit.name, "by": limit.by, "reason": limit.reason}
            return Reason(
                ReasonCode.LIMIT_CLOSED, text, {**facts, "opens_in": None if is_for_ever else limit.closed_for}
            )
    return None


def limit_full(seen: Snapshot) -> Reason | None:
    """A named limit of it has no free place."""
    for limit in _limits(seen):
        if seen.is_due and limit.most is not None and limit.running >= limit.most:
            more = limit.running - len(limit.holders)
            held = listed(limit.holders) + (f" and {more:,} more" if more > 0 else "")
            text = f"Limit {limit.name!r} is full: {limit.running:,} of {limit.most:,} run, held by {held}. "
            text += "It frees up when one of them ends."
            facts: dict[str, Fact] = {"limit": limit.name, "running": limit.running, "most": limit.most}
            return Reason(ReasonCode.LIMIT_FULL, text, {**facts, "holders": limit.holders})
    return None


def limit_rate(seen: Snapshot) -> Reason | None:
    """A named limit of it has used up its rate."""
    for limit in _limits(seen):
        if seen.is_due and limit.left == 0:
            text = f"Limit {limit.name!r} has used up its rate of {limit.rate}: it frees up {_in(limit.next_in)}."
            return Reason(
                ReasonCode.LIMIT_RATE, text, {"limit": limit.name, "rate": limit.rate, "next_in": limit.next_in}
            )
    return None


def breaker_open(seen: Snapshot) -> Reason | None:
    """Its circuit breaker is open, or lets only a few runs try."""
    for one in seen.gates if seen.job is not None else ():
        if isinstance(one, BreakerInfo) and one.state != "closed":
            by = f" by {one.by}" if one.by else ""
            gone = f" {span(seen.ago(round(one.since.timestamp() * 1e6)))} ago" if one.since else ""
            text = f"Breaker {one.name!r} was opened{by}{gone}{because(one.reason)}; "
            if one.state == "half-open":
                text += "a few runs try now whether it may close."
            elif one.trial_in == math.inf:
                text += f"'jobfleet breakers close {one.name}' closes it."
            else:
                text += f"a few runs try again {_in(one.trial_in)}."
            facts: dict[str, Fact] = {"breaker": one.name, "state": one.state, "by": one.by, "reason": one.reason}
            return Reason(ReasonCode.BREAKER_OPEN, text, facts)
    return None


def _in(seconds: float) -> str:
    return f"in {span(seconds)}" if seconds > 0 else "now"
