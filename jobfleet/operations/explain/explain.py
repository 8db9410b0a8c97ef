"""Explain why a job is not running: convert a snapshot to a list of reasons. Pure, except `look`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from jobfleet.errors import JobNotFound
from jobfleet.model import JobStatus, split_id
from jobfleet.model.result import Explanation, Reason, ReasonCode
from jobfleet.operations.explain.gates import (
    breaker_open,
    gate_unreadable,
    gates_of,
    limit_closed,
    limit_full,
    limit_rate,
)
from jobfleet.operations.explain.hangs import blocking, hung
from jobfleet.operations.explain.limits import (
    behind_in_group,
    group_full,
    group_paused,
    group_rate,
    queue_full,
    queue_rate,
)
from jobfleet.operations.explain.running import (
    awaiting_lock,
    cancelling,
    ended,
    lease_expired,
    running,
    suspect,
    undoing,
    worker_gone,
)
from jobfleet.operations.explain.sequence import in_sequence
from jobfleet.operations.explain.snapshot import Snapshot, take
from jobfleet.operations.explain.waiting import (
    behind,
    blocked,
    busy,
    elsewhere,
    expiring,
    newer_schema,
    next_in_line,
    not_due,
    parked,
    paused,
    paused_function,
    quiet,
    unknown_function,
    unserved,
)
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation
from jobfleet.operations.results import moment

Check = Callable[[Snapshot], Reason | None]

WAITING: tuple[Check, ...] = (
    blocked,
    in_sequence,
    not_due,
    suspect,
    parked,
    paused,
    paused_function,
    group_paused,
    unknown_function,
    newer_schema,
    elsewhere,
    unserved,
    quiet,
    queue_full,
    queue_rate,
    group_full,
    group_rate,
    gate_unreadable,
    limit_closed,
    limit_full,
    limit_rate,
    breaker_open,
    hung,
    busy,
    behind,
    behind_in_group,
)
"""The checks of a waiting job, in the order in which they prevent a claim. A new way of waiting adds its check here."""

RUNNING: tuple[Check, ...] = (awaiting_lock, running, blocking, suspect, cancelling, worker_gone, lease_expired)


def explain(seen: Snapshot) -> Explanation:
    """Explain why a job is not running, or how it ended."""
    job = seen.job
    if job is None:
        return Explanation(seen.id, None, (unknown(str(JobNotFound(seen.id))),), at=moment(seen.lane.now))
    if job.status.is_final:
        reasons = _asked(seen, (ended, undoing))
    elif job.status is JobStatus.RUNNING:
        reasons = _asked(seen, RUNNING)
    else:
        reasons = _asked(seen, WAITING)
        if not reasons and job.status is JobStatus.QUEUED:
            reasons = [next_in_line(seen)]
        reasons += _asked(seen, (expiring,))
    return Explanation(
        seen.id,
        job.status,
        tuple(reasons),
        function=job.function,
        queue=job.queue,
        at=moment(seen.lane.now),
        details=seen.details,
    )


def look(context: FleetContext, job_id: str) -> Operation[Explanation]:
    """Read a snapshot of a job, and explain it."""
    try:
        split_id(job_id)
    except JobNotFound as error:
        return Explanation(job_id, None, (unknown(str(error)),))
    seen = yield from take(context, job_id)
    job = seen.job
    if job is not None and job.status.is_waiting:
        gates = yield from gates_of(context, seen.record, job.function, job.queue, job.group)
        seen = replace(seen, gates=gates)
    return explain(seen)


def _asked(seen: Snapshot, checks: Sequence[Check]) -> list[Reason]:
    return [reason for check in checks if (reason := check(seen)) is not None]


def unknown(text: str) -> Reason:
    """The job is not known."""
    return Reason(ReasonCode.UNKNOWN, text)
