"""Actions on jobs, as the audit records them. It has the names of arguments, and none of their values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from jobfleet.clock import from_timedelta, moment
from jobfleet.model import JobStatus, Priority
from jobfleet.model.option_types import Seconds
from jobfleet.operations.audit import Action, Change, Outcome
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.edit import Arguments
from jobfleet.operations.jobs.matching import Filter
from jobfleet.operations.jobs.steer import Change as Rescheduling
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import result_of
from jobfleet.store.calls import inspect
from jobfleet.store.records import InWait

FILTERS = ("queue", "function", "tags", "user", "session", "status", "group", "since", "until")
NO_VALUES: Mapping[str, Any] = {}


def cancel(context: FleetContext, job_id: str) -> Action:
    """The cancellation of a job."""
    return _of_one(context, "cancel", job_id)


def signal(context: FleetContext, job_id: str, name: str) -> Action:
    """A signal to a job."""
    return _of_one(context, "signal", job_id, {"signal": name})


def reschedule(context: FleetContext, job_id: str, change: Rescheduling) -> Action:
    """A change of the due time or the priority of a job."""
    return _of_one(context, "reschedule", job_id, rescheduled(change))


def edit(context: FleetContext, job_id: str, wanted: Arguments) -> Action:
    """A change of the arguments of a job."""
    return _of_one(context, "edit", job_id, _arguments(wanted))


def move(context: FleetContext, job_id: str, queue: str) -> Action:
    """The move of a job to another queue."""
    action = _of_one(context, "move", job_id, {"queue": queue})
    return Action(
        action.name, action.target, action.after, action.look, lambda new: Outcome("done", after={"id": new}),
        is_of_one_job=True,
    )  # fmt: skip


def replay(context: FleetContext, job_id: str, wanted: Arguments | None, *, fresh: bool) -> Action:
    """The replay of a dead letter."""
    after = {**({"fresh": True} if fresh else {}), **(_arguments(wanted) if wanted is not None else {})}
    return _of_one(context, "replay", job_id, after)


def purge(context: FleetContext, job_id: str) -> Action:
    """The deletion of a dead letter."""
    return _of_one(context, "purge", job_id)


def forget(job_id: str) -> Action:
    """The erasure of an ended job."""
    return Action("job.forget", f"{job_id}", is_of_one_job=True)


def _of_one(context: FleetContext, verb: str, job_id: str, after: Mapping[str, Any] = NO_VALUES) -> Action:
    look = partial(_state, context, job_id, after)
    return Action(f"job.{verb}", f"{job_id}", after, look, is_of_one_job=True)


def _state(context: FleetContext, job_id: str, after: Mapping[str, Any]) -> Operation[Change]:
    seen = value((yield (inspect.explain(context.keys.lane_of(job_id), job_id),)))
    job = result_of(job_id, seen.found, seen.now, limits=context.limits)
    before: dict[str, Any] = {"status": str(job.status)}
    if isinstance(seen.found, InWait):
        before["priority"] = _priority(seen.found.band)
        if job.status is not JobStatus.BLOCKED:
            before["due"] = job.scheduled_at
    return Change(before, after)


def _priority(band: int) -> str:
    return next((priority.name.lower() for priority in Priority if priority.band == band), "")


def _arguments(wanted: Arguments) -> dict[str, Any]:
    """Which arguments are given."""
    found: dict[str, Any] = {}
    if wanted.args is not None:
        found["positional"] = len(wanted.args)
    if wanted.kwargs is not None:
        found["named"] = sorted(wanted.kwargs)
    return found


# --------------------------------------------------------------------------------------- many jobs


def cancel_many(chosen: Filter) -> Action:
    """The cancellation of the jobs of a selection."""
    return Action("jobs.cancel", described(chosen))


def reschedule_many(chosen: Filter, change: Rescheduling) -> Action:
    """A change of the due time or the priority of the jobs of a selection."""
    return Action("jobs.reschedule", described(chosen), rescheduled(change))


def move_many(chosen: Filter, queue: str) -> Action:
    """The move of the jobs of a selection to another queue."""
    return Action("jobs.move", described(chosen), {"queue": queue})


def clean(older_than: Seconds, queue: str | None) -> Action:
    """The deletion of old results."""
    target = "all queues" if queue is None else f"queue={queue}"
    return Action("jobs.clean", target, {"older_than": from_timedelta(older_than)})


def cancel_flow(flow_id: str) -> Action:
    """The cancellation of a flow."""
    return Action("flow.cancel", flow_id)


def retry_flow(flow_id: str) -> Action:
    """The retry of the failed jobs of a flow."""
    return Action("flow.retry", flow_id)


def described(chosen: Filter) -> str:
    """The filters of an action on many jobs, in words."""
    given = {name: getattr(chosen, name) for name in FILTERS}
    return " ".join(f"{name}={_filter_text(one)}" for name, one in given.items() if one not in (None, ()))


def _filter_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, str) else ",".join(value)


def rescheduled(change: Rescheduling) -> dict[str, Any]:
    """The new due time and the new priority."""
    after: dict[str, Any] = {}
    if change.delay is not None:
        after["delay"] = change.delay / 1e6
    elif change.at is not None:
        after["due"] = moment(change.at)
    if change.band is not None:
        after["priority"] = _priority(change.band)
    return after
