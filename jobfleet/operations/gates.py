"""Define, close, open and list named limits; list, open and close circuit breakers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from jobfleet.clock import moment, to_us
from jobfleet.errors import InvalidJob
from jobfleet.functions.manifest import read_gates
from jobfleet.model import seconds
from jobfleet.model.audit import NOBODY, from_word
from jobfleet.model.limits import (
    BREAKER,
    LIMIT,
    BreakerInfo,
    NamedLimit,
    adaptive_bounds,
    check_limit_name,
    concurrency_of,
    named_rate,
)
from jobfleet.model.option_types import Seconds
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.verb import Bounds, For, Name, NamedRate, Whole, verb
from jobfleet.store.calls import limits as calls
from jobfleet.store.calls.limits import GateSeen
from jobfleet.store.calls.run import Holder
from jobfleet.store.records import FleetSeen
from jobfleet.store.rows import kept

OPENS_BY_HAND = 7e15
"""From this time on, in µs, a closing lasts until somebody opens the limit."""
BUCKETS, SPAN = 64, 68
"""The buckets of a period, and those that count; as in lua/lib/gate/gate.lua."""
WORDS = {"open": "open", "half": "half-open"}
DEFINES = ("rate", "concurrency", "adaptive")
_USED, _COUNTS = re.compile(r"(\d{1,18}):(\d{1,18})"), re.compile(r"\d{1,18}:(\d{1,18}):(\d{1,18})")


def _limit_before(context: FleetContext, values: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    now, rows = value((yield (calls.gates(context.keys, (gate_of_limit(values["name"]),)),)))
    if not rows or not rows[0].fields:
        return {}
    info = limit_info(rows[0], now)
    given = {name: getattr(info, name) for name in DEFINES if getattr(info, name) is not None}
    return {**given, "closed": info.closed_for > 0}


def _breaker_before(context: FleetContext, values: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    now, rows = value((yield (calls.gates(context.keys, (gate_of_breaker(values["name"]),)),)))
    return {"state": breaker_info(rows[0], now).state} if rows and rows[0].fields else {}


@verb("limits.define", target=("name",), before=_limit_before, state="defined")
def define(
    context: FleetContext,
    name: Name,
    *,
    rate: NamedRate | None = None,
    concurrency: Whole | None = None,
    adaptive: Bounds | None = None,
    replace: bool = False,
) -> Operation[bool]:
    """Define a named limit, which functions of all queues share, or change what is given of it.

    Args:
        name: The name: 1 to 64 letters, digits and characters of _.:-
        rate: Most of the costs of the jobs that start per time: 100/1m, 5/10s.
        concurrency: Most jobs that run at once.
        adaptive: Bounds of a concurrency that adapts itself.
        replace: Remove what is not given; otherwise it stays.

    Raises:
        InvalidJob: A value is wrong, or none is given, or there are too many limits.
    """
    check_limit_name(name, field="name")
    if rate is None and concurrency is None and adaptive is None:
        raise InvalidJob("Nothing to limit; give rate, concurrency or adaptive.", field="rate")
    if concurrency is not None and adaptive is not None:
        raise InvalidJob("concurrency is fixed, and adaptive has bounds of it; give one.", field="adaptive")
    read = None if rate is None else named_rate(rate)
    most = None if concurrency is None else concurrency_of(concurrency, stop="close the limit")
    if most == math.inf:
        raise InvalidJob("concurrency is infinite; leave it out for no limit.", field="concurrency")
    call = calls.define_limit(
        context.keys,
        f"{LIMIT}:{name}",
        most=None if most is None else int(most),
        bounds=None if adaptive is None else adaptive_bounds(adaptive),
        count=None if read is None else read.amount,
        period_us=None if read is None else to_us(read.period),
        how="replace" if replace else "change",
        rate="" if rate is None else f"{rate}/s" if isinstance(rate, int) else str(rate).replace(" ", ""),
    )
    changed: bool | None = value((yield (call,)))
    if changed is None:
        raise InvalidJob(f"There are {calls.MOST_LIMITS:,} named limits, which is the most.", field="name")
    return changed


@verb("limits.remove", target=("name",), before=_limit_before, state="removed")
def remove(context: FleetContext, name: Name) -> Operation[bool]:
    """Remove a named limit; its jobs are not limited any more.

    Args:
        name: The name of the limit.

    Raises:
        InvalidJob: The name is not valid.
    """
    call = calls.define_limit(context.keys, f"{LIMIT}:{check_limit_name(name, field='name')}", how="remove")
    return bool(value((yield (call,))))


@verb("limits.close", target=("name",), before=_limit_before, state="closed")
def close_limit(
    context: FleetContext, name: Name, seconds: For | None = None, *, reason: str | None = None, by: str | None = None
) -> Operation[bool]:
    """Let no further job of a named limit start. Running jobs continue.

    Args:
        name: The name of the limit.
        seconds: For how long; by default until somebody opens it.
        reason: The reason, for the record.

    Raises:
        InvalidJob: There is no such limit, or the time is not valid.
    """
    return (yield from _shut(context, gate_of_limit(name), seconds, by=by, reason=reason))


@verb("limits.open", target=("name",), before=_limit_before, state="open")
def open_limit(context: FleetContext, name: Name, *, by: str | None = None) -> Operation[bool]:
    """Open a named limit that is closed.

    Args:
        name: The name of the limit.

    Raises:
        InvalidJob: There is no such limit.
    """
    return (yield from _unshut(context, gate_of_limit(name), by=by))


@verb("breakers.open", target=("name",), before=_breaker_before, state="open")
def open_breaker(
    context: FleetContext, name: Name, seconds: For | None = None, *, reason: str | None = None, by: str | None = None
) -> Operation[bool]:
    """Open a circuit breaker, so that no further job starts behind it. Running jobs continue.

    Args:
        name: The name: function:NAME, group:QUEUE:GROUP or limit:NAME, as 'jobfleet breakers ls' shows it.
        seconds: Until a trial; by default until somebody closes it.
        reason: The reason, for the record.

    Raises:
        InvalidJob: There is no such breaker, or the time is not valid.
    """
    return (yield from _shut(context, gate_of_breaker(name), seconds, by=by, reason=reason))


@verb("breakers.close", target=("name",), before=_breaker_before, state="closed")
def close_breaker(context: FleetContext, name: Name, *, by: str | None = None) -> Operation[bool]:
    """Close a circuit breaker: its jobs start again.

    Args:
        name: The name of the breaker.

    Raises:
        InvalidJob: There is no such breaker.
    """
    return (yield from _unshut(context, gate_of_breaker(name), by=by))


def _shut(
    context: FleetContext, gate: str, duration: Seconds | None, *, by: str | None, reason: str | None
) -> Operation[bool]:
    """Let no run pass a gate for some seconds, or (None) until somebody opens it.

    Raises:
        InvalidJob: There is no such gate, or the time is not valid.
    """
    yield from _check_known(context, gate)
    for_us = calls.FOREVER if duration is None else max(1, to_us(seconds(duration, field="seconds")))
    changed: bool | None = value((yield (calls.shut_gate(context.keys, gate, for_us, by=by, reason=reason),)))
    if changed is None:
        text = f"{calls.MOST_LIMITS:,} gates are defined or shut until somebody opens them, which is the most"
        raise InvalidJob(f"{text}; give a time.", field="seconds")
    return changed


def _unshut(context: FleetContext, gate: str, *, by: str | None) -> Operation[bool]:
    """Let runs pass a gate again; return False if they could.

    Raises:
        InvalidJob: There is no such gate.
    """
    yield from _check_known(context, gate)
    return bool(value((yield (calls.shut_gate(context.keys, gate, 0, by=by),))))


def _check_known(context: FleetContext, gate: str) -> Operation[None]:
    """Refuse the name of a gate that has no state and that no function declares: it is probably mistyped."""
    _, rows = value((yield (calls.gates(context.keys, (gate,)),)))
    if rows and (rows[0].fields or rows[0].unreadable):
        return
    seen: FleetSeen = value((yield (context.fleet_call(),)))
    kind, _, name = gate.partition(":")
    declared: set[str] = set()
    for function, record in seen.functions.items():
        limits, per = read_gates(record)
        if kind == LIMIT:
            declared.update(limits)
        elif per == "group":
            declared.update([name] if name.startswith("group:") else ())
        elif per:
            declared.add(per if per.startswith(LIMIT) else f"function:{function}")
    if seen.functions and name not in declared:  # before the first worker no name is known
        what, remedy = ("limit", "limits named") if kind == LIMIT else ("breaker", "breakers ls")
        raise InvalidJob(
            f"There is no {what} {name!r:.100}, and no published function has it. 'jobfleet {remedy}' lists those that "
            f"there are.",
            field="name",
        )


def gate_of_limit(name: str) -> str:
    """The gate of a named limit."""
    return f"{LIMIT}:{check_limit_name(name, field='name')}"


def gate_of_breaker(name: str) -> str:
    """The gate of a breaker.

    Raises:
        InvalidJob: The name has no known kind.
    """
    kind, _, rest = str(name).partition(":")
    if kind in {"function", "group", LIMIT} and rest and name.isprintable() and len(name) < 500:
        return f"{BREAKER}{name}"
    raise InvalidJob(
        f"{name!r:.100} is not a breaker; give 'function:NAME', 'group:QUEUE:GROUP' or 'limit:NAME'.", field="name"
    )


def gates(context: FleetContext) -> Operation[tuple[list[NamedLimit], list[BreakerInfo]]]:
    """List the named limits, and the circuit breakers that have counted a run, both by name."""
    now, rows = yield from _all(context)
    rows.sort(key=lambda row: row.name)
    limits = [limit_info(row, now) for row in rows if row.name.startswith(f"{LIMIT}:")]
    return limits, [breaker_info(row, now) for row in rows if row.name.startswith(BREAKER)]


def named_limits(context: FleetContext) -> Operation[list[NamedLimit]]:
    """List the named limits by name."""
    return (yield from gates(context))[0]


def breakers(context: FleetContext) -> Operation[list[BreakerInfo]]:
    """List the circuit breakers that have counted a run, by name."""
    return (yield from gates(context))[1]


def _all(context: FleetContext) -> Operation[tuple[int, list[GateSeen]]]:
    found: list[GateSeen] = []
    while True:
        now, rows = value((yield (calls.gates(context.keys, skip=len(found)),)))
        found += rows
        if len(rows) < calls.CHUNK:
            return now, [row for row in found if row.fields or row.unreadable]


def limit_info(row: GateSeen, now: int) -> NamedLimit:
    """A named limit as operators see it."""
    fields = row.fields
    low, high, level = (_number(fields, name) for name in ("low", "high", "level"))
    closed = _number(fields, "closed") or 0
    left, next_us = _left(fields, now)
    return NamedLimit(
        row.name.partition(":")[2],
        rate=fields.get("rate"),
        concurrency=None if (most := _number(fields, "most")) is None else int(most),
        adaptive=None if low is None or high is None else (int(low), int(high)),
        level=None if low is None else int(level if level is not None else low),
        running=row.running,
        left=left,
        next_in=max(0.0, (next_us - now) / 1e6) if left == 0 else 0.0,
        closed_for=math.inf if closed > OPENS_BY_HAND else max(0.0, (closed - now) / 1e6),
        by=_by(fields),
        reason=fields.get("why", ""),
        is_defined="defined" in fields,
        holders=tuple(kept(row.holders, lambda text: Holder.parse(text).job_id, f"inside:{row.name}")),
        unreadable=row.unreadable,
    )


def _left(fields: Mapping[str, str], now: int) -> tuple[int | None, int]:
    """What is left of a rate, and when (µs) the next part of it is free."""
    count, period = _number(fields, "count"), _number(fields, "period")
    if not count or not period:
        return None, 0
    width = period / BUCKETS
    rows = [(int(at), int(used)) for at, used in _USED.findall(fields.get("used", ""))]
    counted = [(at, used) for at, used in rows if now // width - at < SPAN]
    left = max(0, int(count) - sum(used for _, used in counted))
    return left, int((counted[0][0] + SPAN) * width) if counted else 0


def breaker_info(row: GateSeen, now: int) -> BreakerInfo:
    """A breaker as operators see it."""
    fields = row.fields
    until, is_open = _number(fields, "until") or 0, fields.get("state") == "open"
    counts = _COUNTS.findall(fields.get("counts", ""))
    return BreakerInfo(
        row.name.removeprefix(BREAKER),
        WORDS.get(fields.get("state", ""), "closed"),
        by=_by(fields),
        reason=fields.get("why", ""),
        since=moment(int(_number(fields, "since") or 0)),
        opened_at=moment(int(_number(fields, "opened") or 0)),
        trial_in=(max(0.0, (until - now) / 1e6) if until else math.inf) if is_open else 0.0,
        succeeded=sum(int(good) for good, _ in counts),
        failed=sum(int(bad) for _, bad in counts),
        unreadable=row.unreadable,
    )


def repair(one: NamedLimit | BreakerInfo) -> str:
    """What to do about a gate that cannot be read, in a sentence."""
    if isinstance(one, BreakerInfo):
        return "Workers move it aside as they meet it; if they may not, delete the key: the breaker starts closed."
    return (
        f"Workers move it aside as they meet it; if they may not, delete the key. Then define the limit again: "
        f"'jobfleet limits define {one.name} --rate N/TIME'."
    )


def _by(fields: Mapping[str, str]) -> str | None:
    word = fields.get("by", NOBODY)
    return None if word == NOBODY else from_word(word)


def _number(fields: Mapping[str, str], name: str) -> float | None:
    try:
        number = float(fields.get(name, ""))
    except ValueError:
        return None
    return number if math.isfinite(number) else None  # another is not from a script
