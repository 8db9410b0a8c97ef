"""Checks of jobs that wait for a limit. Each function returns one reason, or None. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from jobfleet.clock import span
from jobfleet.model.result import Fact, Reason, ReasonCode
from jobfleet.operations.explain.reasons import asked_by, because, counted, listed
from jobfleet.operations.explain.snapshot import Snapshot
from jobfleet.store.calls.inspect import Grouped, Limited


def group_paused(seen: Snapshot) -> Reason | None:
    """Its group is paused."""
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
