"""The actions of operators as the audit records them: on jobs, dead letters, and what a fleet consists of.

Of arguments, an action has the names and none of the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jobfleet.clock import from_timedelta
from jobfleet.model.option_types import Seconds
from jobfleet.operations.audit import Action, Change, Outcome
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation
from jobfleet.operations.rescues import status
from jobfleet.operations.workers import workers
from jobfleet.store.calls.dead import NotedRescue

# --------------------------------------------------------------------------------------- many jobs


def clean(older_than: Seconds, queue: str | None) -> Action:
    """The deletion of old results."""
    target = "all queues" if queue is None else f"queue={queue}"
    return Action("jobs.clean", target, {"older_than": from_timedelta(older_than)})


# --------------------------------------------------------------------------------------------------------- dead letters


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
