"""The actions of operators as the audit records them: on jobs, dead letters, and what a fleet consists of.

Of arguments, an action has the names and none of the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jobfleet.clock import from_timedelta
from jobfleet.errors import EncodingError, InvalidJob
from jobfleet.model import Job
from jobfleet.model.option_types import Seconds
from jobfleet.operations.audit import Action, Change, Outcome
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.pause import Place
from jobfleet.operations.rescues import status
from jobfleet.operations.workers import workers
from jobfleet.store.calls import cron as calls
from jobfleet.store.calls import inspect, limits
from jobfleet.store.calls.control import Pause, paused, read_functions, read_pause
from jobfleet.store.calls.dead import NotedRescue

CRON_DEFAULTS: Mapping[str, Any] = {
    "misfire": "once",
    "misfire_window": 3600.0,
    "most": 100,
    "overlap": "allow",
    "jitter": 0.0,
}


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


# ---------------------------------------------------------------------------------- recurring jobs


def add_cron(context: FleetContext, name: str, cron: Any, job: Job) -> Action:
    """A new or changed recurring job."""
    after: dict[str, Any] = _schedule(cron)
    if isinstance(job, Job):  # anything else is refused
        after["function"] = str(getattr(job.function, "name", job.function))
        after |= {"queue": job.queue} if job.queue else {}
    return Action(
        "cron.add", f"{name}", after, partial(_entry, context, name, after),
        lambda word: Outcome("unchanged" if word == "unchanged" else "done"),
    )  # fmt: skip


def edit_cron(context: FleetContext, name: str, cron: Any) -> Action:
    """Another schedule of a recurring job."""
    after = _schedule(cron)
    return Action(
        "cron.edit", f"{name}", after, partial(_entry, context, name, after),
        lambda word: Outcome("unchanged" if word == "unchanged" else "done"),
    )  # fmt: skip


def remove_cron(context: FleetContext, name: str) -> Action:
    """The removal of a recurring job."""
    return Action("cron.remove", f"{name}", look=partial(_entry, context, name, {}))


def pause_cron(context: FleetContext, name: str) -> Action:
    """The pause of a recurring job."""
    return Action("cron.pause", f"{name}", {"paused": True}, partial(_entry_paused, context, name, {"paused": True}))


def resume_cron(context: FleetContext, name: str) -> Action:
    """The end of the pause of a recurring job."""
    return Action("cron.resume", f"{name}", {"paused": False}, partial(_entry_paused, context, name, {"paused": False}))


def run_cron(name: str) -> Action:
    """A run of a recurring job, in addition to its fires."""
    return Action("cron.run", f"{name}", end=lambda job_id: Outcome("done", after={"id": job_id}))


def _found(context: FleetContext, name: str) -> Operation[calls.Scheduled | None]:
    _, rows = value((yield (calls.entries(context.keys),)))
    return next((row for row in rows if row.name == name), None)


def _entry(context: FleetContext, name: str, after: Mapping[str, Any]) -> Operation[Change]:
    from jobfleet.operations.cron import entry_of  # imports croniter, which only recurring jobs need

    row = yield from _found(context, name)
    if row is None:
        return Change({}, after)
    try:
        entry = entry_of(row.record)
    except (InvalidJob, EncodingError):  # a later version wrote it
        return Change({}, after)
    return Change({**_schedule(entry.cron), "function": entry.function, "queue": entry.queue}, after)


def _entry_paused(context: FleetContext, name: str, after: Mapping[str, Any]) -> Operation[Change]:
    row = yield from _found(context, name)
    if row is None:
        return Change({}, after)
    before = {"paused": row.paused is not None}
    return Change({**before, **({"paused_by": row.paused} if row.paused not in (None, "-") else {})}, after)


def _schedule(cron: Any) -> dict[str, Any]:
    """A schedule, without the fields that have their default."""
    fields = {name: getattr(cron, name) for name in CRON_DEFAULTS if getattr(cron, name) != CRON_DEFAULTS[name]}
    times = {name: getattr(cron, name) for name in ("start", "end") if getattr(cron, name) is not None}
    return {"schedule": cron.expression, "tz": cron.tz, **fields, **times}


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


def purge_queue(queue: str) -> Action:
    """The cancellation of all waiting jobs of a queue."""
    return Action("queue.purge", f"{queue}")


def remove(queue: str, *, purge: bool) -> Action:
    """The removal of a queue."""
    return Action("queue.remove", f"{queue}", {"purge": purge}, end=lambda letters: Outcome("done", letters))
