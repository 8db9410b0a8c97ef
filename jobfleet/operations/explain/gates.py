"""Checks of jobs that wait for a named limit or a circuit breaker. Each function returns one reason, or None."""

from __future__ import annotations

import math

from jobfleet.clock import span
from jobfleet.functions.manifest import read_gates
from jobfleet.model.limits import BREAKER, LIMIT, BreakerInfo, NamedLimit
from jobfleet.model.result import Fact, Reason, ReasonCode
from jobfleet.operations.explain.reasons import because, listed
from jobfleet.operations.explain.snapshot import Snapshot
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.gates import breaker_info, limit_info, repair
from jobfleet.operations.operation import Operation, value
from jobfleet.store.calls import limits as calls


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
