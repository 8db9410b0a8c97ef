"""Actions on workers, recurring jobs and the data of a fleet, as the audit records them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jobfleet.errors import EncodingError, InvalidJob
from jobfleet.model import Job
from jobfleet.operations.audit import Action, Change, Outcome
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.workers.info import workers
from jobfleet.store.calls import cron as calls

CRON_DEFAULTS: Mapping[str, Any] = {
    "misfire": "once",
    "misfire_window": 3600.0,
    "most": 100,
    "overlap": "allow",
    "jitter": 0.0,
}


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
    return Action("cron.pause", f"{name}", {"paused": True}, partial(_paused, context, name, {"paused": True}))


def resume_cron(context: FleetContext, name: str) -> Action:
    """The end of the pause of a recurring job."""
    return Action("cron.resume", f"{name}", {"paused": False}, partial(_paused, context, name, {"paused": False}))


def run_cron(name: str) -> Action:
    """A run of a recurring job, in addition to its fires."""
    return Action("cron.run", f"{name}", end=lambda job_id: Outcome("done", after={"id": job_id}))


def _found(context: FleetContext, name: str) -> Operation[calls.Scheduled | None]:
    _, rows = value((yield (calls.entries(context.keys),)))
    return next((row for row in rows if row.name == name), None)


def _entry(context: FleetContext, name: str, after: Mapping[str, Any]) -> Operation[Change]:
    from jobfleet.operations.cron.entries import entry_of  # imports croniter, which only recurring jobs need

    row = yield from _found(context, name)
    if row is None:
        return Change({}, after)
    try:
        entry = entry_of(row.record)
    except (InvalidJob, EncodingError):  # a later version wrote it
        return Change({}, after)
    return Change({**_schedule(entry.cron), "function": entry.function, "queue": entry.queue}, after)


def _paused(context: FleetContext, name: str, after: Mapping[str, Any]) -> Operation[Change]:
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
