"""The actions of operators as the audit records them: on jobs, dead letters, and what a fleet consists of.

Of arguments, an action has the names and none of the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from jobfleet.clock import from_timedelta, moment
from jobfleet.model import JobStatus, Priority
from jobfleet.model.option_types import Seconds
from jobfleet.operations.audit import Action, Change, Outcome
from jobfleet.operations.dead_groups import GroupState, group
from jobfleet.operations.dead_letters import DeadFilter
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.edit import Arguments
from jobfleet.operations.jobs.matching import Filter
from jobfleet.operations.jobs.steer import Change as Rescheduling
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.rescues import status
from jobfleet.operations.results import result_of
from jobfleet.operations.workers import workers
from jobfleet.store.calls import inspect
from jobfleet.store.calls.dead import NotedRescue
from jobfleet.store.records import InWait

FILTERS = ("queue", "function", "tags", "user", "session", "status", "group", "since", "until")
NO_VALUES: Mapping[str, Any] = {}
DEAD_FILTERS = ("queue", "function", "fingerprint", "tag", "user", "since", "until")
VERBS = {GroupState.RESOLVED: "resolve", GroupState.IGNORED: "ignore", GroupState.KNOWN: "reopen"}
"""The states that people set, and how."""


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


# --------------------------------------------------------------------------------------------------------- dead letters


def of_many(verb: str, chosen: DeadFilter) -> Action:
    """An action on all letters that match: ``replay`` or ``purge``."""
    given = {name: getattr(chosen, name) for name in DEAD_FILTERS}
    words = " ".join(f"{name}={one}" for name, one in given.items() if one is not None)
    return Action(f"dead.{verb}", words or "all queues")


def decide(context: FleetContext, fingerprint: str, state: GroupState) -> Action:
    """A decision about a group: one of `VERBS`."""
    after = {"state": str(state)}
    return Action(f"dead.{VERBS[state]}", f"{fingerprint}", after, partial(_group_state, context, fingerprint, after))


def _group_state(context: FleetContext, fingerprint: str, after: Mapping[str, Any]) -> Operation[Change]:
    found = yield from group(context, fingerprint)
    before = {"state": str(found.state), **({"decided_by": found.by} if found.by else {})}
    return Change(before, after)


def rescue(
    context: FleetContext, fingerprint: str, *, rate: float | str, canary: Sequence[int], stop_after: int
) -> Action:
    """A rescue of a group."""
    after = {"rate": rate, "canary": canary, "stop_after": stop_after}
    look = partial(_letters, context, fingerprint, after)
    return Action("rescue.start", f"{fingerprint}", after, look, lambda made: Outcome("done", after={"id": made}))


def _letters(context: FleetContext, fingerprint: str, after: Mapping[str, Any]) -> Operation[Change]:
    found = yield from group(context, fingerprint)
    return Change({"state": str(found.state), "letters": found.count}, after)


def stop_rescue(context: FleetContext, made: str) -> Action:
    """The stop of a rescue."""
    after = {"state": "stopped"}
    return Action("rescue.stop", f"{made}", after, partial(_rescue, context, made, after))


def undo_rescue(context: FleetContext, made: str) -> Action:
    """The undoing of a rescue. One without jobs in flight is stopped."""
    return Action("rescue.undo", f"{made}", {}, partial(_rescue, context, made, {}), _undone)


def _rescue(context: FleetContext, made: str, after: Mapping[str, Any]) -> Operation[Change]:
    found = yield from status(context, made)
    return Change({"state": found.state, "replayed": found.replayed, "in_flight": found.in_flight}, after)


def _undone(noted: NotedRescue) -> Outcome:
    return Outcome("done" if noted.state != noted.before else "unchanged", after={"state": noted.state})


# ------------------------------------------------------------------------------------------------------------ the fleet


def command_workers(
    context: FleetContext, ids: Sequence[str], verb: str, *, processes: int | None, grace: float | None
) -> Action:
    """A command to workers."""
    given = {"processes": processes, "grace": grace}
    after = {name: number for name, number in given.items() if number is not None}

    def look() -> Operation[Change]:
        seen = {one.id: one for one in (yield from workers(context))}
        states = {one: f"{seen[one].state}, {seen[one].children} children" for one in ids if one in seen}
        return Change(states, after)

    return Action(f"worker.{verb}", ", ".join(ids), after, look, _confirmed)


def _confirmed(answers: Sequence[Any]) -> Outcome:
    """How many workers have confirmed a command; others may do it later."""
    states = {one.worker: one.refusal or one.state for one in answers}
    number = sum(one.is_confirmed for one in answers)
    return Outcome("done" if number else "unknown", number, after=states)


def child_stacks(child: str) -> Action:
    """The question for the stacks of a child."""
    return Action("worker.stacks", child, end=_answered)


def _answered(shown: Any) -> Outcome:
    return Outcome("done" if shown.text else "unknown", after={"refusal": shown.refusal} if shown.refusal else {})


def repair() -> Action:
    """The repair of contradictions in the data."""
    return Action("fleet.repair", "all queues", end=_repaired)


def _repaired(repairs: Sequence[Any]) -> Outcome:
    done = [f"{one.check} {one.job_id}" for one in repairs if one.is_done]
    return Outcome("done" if done else "unchanged", len(done), after={"repaired": done} if done else {})


def detach_archive() -> Action:
    """The end of the archive: events are not kept for it any more."""
    return Action("archive.detach", "all queues")
