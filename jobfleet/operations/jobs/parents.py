"""The parents of a job with their names and errors, and the job because of which it was cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.result import Parent
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation
from jobfleet.store.calls.flow import ParentState

BECAUSE = "cancelled by parent:"
"""How the error of a job begins that was cancelled through a parent; the id of that parent follows."""
NAMED = 50
"""Parents that are read, for their names and errors."""
LINKS_MOST = 30
"""Jobs that are read on the way to the root cause, one after the other."""


def cancelling_parent(error: str | None) -> str:
    """The id of the parent through which a job was cancelled, from its error; empty if it was not."""
    return error.removeprefix(BECAUSE) if error is not None and error.startswith(BECAUSE) else ""


def parents_of(
    context: FleetContext, job: JobResult[Any] | None, states: Sequence[ParentState]
) -> Operation[tuple[Parent, ...]]:
    """Read the parents of a job, in their order; of many, 50: those first that are not known to have completed.

    Args:
        context: The context of the fleet.
        job: The job; None if it is unknown.
        states: Its parents, with the endings that were recorded in it. After its own end no more are recorded.
    """
    if job is None or not states:
        return ()
    through = cancelling_parent(job.error)
    order = sorted(states, key=lambda one: (one.parent != through, Parent(one.parent, one.status).place))
    found = yield from others_of(context, [one.parent for one in order[:NAMED]])
    return tuple(
        _parent(one.parent, found[one.parent], one.status) if one.parent in found else Parent(one.parent, one.status)
        for one in states
    )


def root_cause(context: FleetContext, job: JobResult[Any] | None) -> Operation[Parent | None]:
    """Read the job because of which a job was cancelled: the first one upwards that no parent has cancelled."""
    last, passed = None, 0
    while job is not None and passed < LINKS_MOST and (parent := job.moved_to or cancelling_parent(job.error)):
        if job.moved_to and last is None:
            return None
        passed += 1
        found = yield from others_of(context, [parent])
        job = found.get(parent)
        last = _parent(parent, job) if found else Parent(parent, "")
    return last


def others_of(context: FleetContext, ids: Sequence[str]) -> Operation[dict[str, JobResult[Any] | None]]:
    """Read other jobs that are named beside a job; None for each unknown one.

    Returns:
        Nothing, if one of them cannot be read, or may not be by this Redis user.
    """
    try:
        return dict(zip(ids, (yield from poll_many(context, ids, has_values=False)), strict=True))
    except StoreUnavailable:
        raise
    except JobfleetError:
        return {}


def because(cause: Parent, *, is_callback: bool) -> str:
    """The end of the sentence about a job that was cancelled through a parent, without a full stop.

    Args:
        cause: The root cause.
        is_callback: Whether the job is a callback of it, which is cancelled if the other callback is due.
    """
    name = f"'{cause.name or cause.id}'"
    error = f": {' '.join(cause.error.split()).removesuffix('.')}" if cause.error else ""
    match cause.status:
        case "completed" if is_callback:
            return f"because {name} completed"
        case "completed":
            return f"because {name} did not complete; it was run again, and has completed since"
        case "failed" | "expired":
            return f"because {name} {cause.status}{error}"
        case "cancelled" if cancelling_parent(cause.error):
            return f"because {name} was cancelled through a parent, too"
        case "cancelled":
            return f"because {name} was {cause.error or 'cancelled'}"
        case "gone":
            return f"because {name} did not complete; nothing is known of it any more"
        case "":  # it cannot be read
            return f"because {name} did not complete"
    return f"because {name} did not complete; it was replayed, and is {cause.status}"


def _parent(job_id: str, found: JobResult[Any] | None, recorded: str = "") -> Parent:
    """A parent as it is now; as it was recorded, if nothing is known of it any more."""
    if found is None:
        return Parent(job_id, recorded or "gone")
    error = None if found.status is JobStatus.COMPLETED else found.error_text or None
    return Parent(job_id, str(found.status), found.name or found.function, error)
