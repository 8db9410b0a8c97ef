"""Explain why a job is not running: convert a snapshot to a list of reasons. Pure, except `look`.

Here are the checks of jobs that run or have ended, and of event loops that do not turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jobfleet.clock import moment, span
from jobfleet.errors import JobNotFound
from jobfleet.model import JobResult, JobStatus, split_id
from jobfleet.model.result import Explanation, Fact, Reason, ReasonCode
from jobfleet.operations.explain.hindrances import NAMED_WORKERS, asked_by, listed
from jobfleet.operations.explain.limits import (
    behind_in_group,
    breaker_open,
    gate_unreadable,
    gates_of,
    group_full,
    group_paused,
    group_rate,
    limit_closed,
    limit_full,
    limit_rate,
    queue_full,
    queue_rate,
)
from jobfleet.operations.explain.snapshot import HUNG, Snapshot, take
from jobfleet.operations.explain.waiting import (
    able,
    behind,
    blocked,
    busy,
    elsewhere,
    expiring,
    in_sequence,
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
from jobfleet.operations.jobs.parents import because
from jobfleet.operations.operation import Operation
from jobfleet.operations.verb import counted
from jobfleet.operations.workers import ChildInfo, WorkerInfo
from jobfleet.store.records import InRun

UNREADABLE = ("bad-signature", "payload-lost", "unreadable")
"""Error classes of jobs of which nothing is left that could be run."""


def awaiting_lock(seen: Snapshot) -> Reason | None:
    """Its code waits for a lock of the fleet."""
    found, lock = seen.lane.found, seen.awaited
    if not isinstance(found, InRun) or lock is None or lock.token != found.run.token:
        return None
    gone = seen.ago(lock.since)
    held = f", held by {listed(lock.holders)}" if lock.holders else ""
    text = f"Waits for the lock {lock.name!r} (limit {lock.limit}) for {span(gone)}{held}."
    facts: dict[str, Fact] = {"lock": lock.name, "limit": lock.limit, "since": gone, "holders": list(lock.holders)}
    return Reason(ReasonCode.LOCK, text, facts)


def running(seen: Snapshot) -> Reason | None:
    """Explain a running job."""
    found = seen.lane.found
    if not isinstance(found, InRun) or seen.job is None:
        return None
    run, gone, left = found.run, seen.ago(found.run.claimed), -seen.ago(seen.lane.deadline)
    text = f"Running for {span(gone)} on {run.child}, run {seen.job.runs}"
    if seen.emitted:
        text += f"; it has emitted {counted(seen.emitted, 'chunk')}"
    text += f"; its lease ends in {span(left)} unless it is renewed." if left > 0 else "."
    facts: dict[str, Fact] = {
        "since": gone,
        "child": run.child,
        "run": seen.job.runs,
        "fence": run.token,
        "lease_left": left,
    }
    if seen.emitted:
        facts["chunks"] = seen.emitted
    return Reason(ReasonCode.RUNNING, text, facts)


def suspect(seen: Snapshot) -> Reason | None:
    """It was in processes that died, so it may have to wait for a place."""
    deaths, among = suspicion = seen.tries.suspicion
    is_running = isinstance(seen.lane.found, InRun)
    if not suspicion.is_suspect or not (is_running or seen.due > seen.lane.now):
        return None
    others = suspicion.width - 1
    shares = (
        f"shares a process with {counted(others, 'other suspect')} at most" if others else "runs alone in a process"
    )
    text = f"A suspect: it has witnessed {counted(deaths, 'death')} of a process, the last as one of {among:,}."
    text += f" It {shares}, and may wait for a place{' in that child' if is_running else ''}."
    return Reason(ReasonCode.SUSPECT, text, {"deaths": deaths, "suspects": among, "others": others})


def cancelling(seen: Snapshot) -> Reason | None:
    """Explain a running job whose cancellation was requested."""
    found = seen.lane.found
    if not isinstance(found, InRun) or not found.run.cancel_by:
        return None
    by, gone = found.run.cancel_by, seen.ago(found.run.cancel_at)
    stage = found.run.stage or "requested"
    text = f"Asked to stop{asked_by(by)} {span(gone)} ago; it has not ended yet (stage: {stage})."
    return Reason(ReasonCode.CANCELLING, text, {"by": None if by == "-" else by, "since": gone, "stage": stage})


def worker_gone(seen: Snapshot) -> Reason | None:
    """Its worker sends no heartbeats any more."""
    found = seen.lane.found
    if not isinstance(found, InRun):
        return None
    worker = found.run.child.rpartition(".")[0]
    last = next((one for one in seen.workers if one.id == worker), None)
    if last is not None and not last.is_gone:
        return None
    beat = last.beat if last is not None else None
    gone = None if beat is None else seen.ago(round(beat.timestamp() * 1e6))
    text = f"Its worker {worker} is gone{'' if gone is None else f', last heard of {span(gone)} ago'}"
    text += "; the job is run again when its lease has ended."
    return Reason(ReasonCode.WORKER_GONE, text, {"worker": worker, "since": gone})


def lease_expired(seen: Snapshot) -> Reason | None:
    """Explain a running job whose lease has expired."""
    if not isinstance(seen.lane.found, InRun) or seen.lane.deadline > seen.lane.now:
        return None
    if not seen.lane.deadline:
        return Reason(ReasonCode.LEASE_EXPIRED, "It has a run and no lease: 'jobfleet doctor --fix' mends that.", {})
    gone, held = seen.ago(seen.lane.deadline), max(0.0, -seen.ago(seen.lane.hold))
    text = f"Its lease ended {span(gone)} ago: the next worker or reaper that looks takes it back"
    text += f", in {span(held)} at the soonest, since nobody looked for a while." if held else "."
    return Reason(ReasonCode.LEASE_EXPIRED, text, {"since": gone, "held_for": held})


def _again(job: JobResult[Any]) -> str:
    """How to run a failed job again."""
    if job.error_class in UNREADABLE:
        return "what is stored of it cannot be run: enqueue the job again, and 'jobfleet dead purge' this one"
    return f"'jobfleet dead replay {job.id}' runs it again"


def ended(seen: Snapshot) -> Reason | None:
    """How and when it ended, and who ended it."""
    job = seen.job
    if job is None:
        return None
    gone = None if job.completed_at is None else seen.ago(round(job.completed_at.timestamp() * 1e6))
    ago = "" if gone is None else f" {span(gone)} ago"
    by = job.cancel_requested_by
    facts: dict[str, Fact] = {"since": gone, "at": job.completed_at}
    match job.status:
        case JobStatus.COMPLETED:
            took = f" after {span(job.duration.total_seconds())}" if job.duration is not None else ""
            where = f" on {job.worker}" if job.worker else ""
            facts |= {"duration": job.duration.total_seconds() if job.duration else None, "child": job.worker}
            return Reason(ReasonCode.COMPLETED, f"Completed{ago}{took}{where}.", facts)
        case JobStatus.FAILED:
            when = f"on run {job.runs}" if job.runs else "without a run"
            text = f"Failed{ago} {when}: {_error(seen)}; {_again(job)}."
            facts |= {"run": job.runs, "error": job.error, "error_class": job.error_class, "child": job.worker}
            return Reason(ReasonCode.FAILED, text, facts)
        case JobStatus.CANCELLED if job.moved_to:
            facts |= {"by": by, "moved_to": job.moved_to}
            return Reason(ReasonCode.MOVED, f"Moved{asked_by(by)}{ago}: it is {job.moved_to} now.", facts)
        case JobStatus.CANCELLED:
            where = f", while it ran on {job.worker}" if job.worker else ""
            facts |= {"by": by, "child": job.worker}
            if seen.details is not None and (cause := seen.details.root_cause) is not None:
                text = f"Cancelled{ago} {because(cause, is_callback=seen.details.callback is not None)}."
                facts |= {"cause": cause.id, "cause_status": cause.status, "cause_error": cause.error}
                return Reason(ReasonCode.CANCELLED, text, facts)
            return Reason(ReasonCode.CANCELLED, f"Cancelled{asked_by(by)}{ago}{where}.", facts)
        case _:
            return Reason(ReasonCode.EXPIRED, f"Expired{ago}: it was not started in time.", facts)


def undoing(seen: Snapshot) -> Reason | None:
    """Which job undoes its steps, and how far that is."""
    if seen.undo is None:
        return None
    undo_id, status = seen.undo
    match status:
        case "failed":
            rest = f"correct the cause, and 'jobfleet dead replay {undo_id}' continues it"
        case "cancelled" | "expired" | "gone":
            rest = "nothing undoes them any more"
        case _:
            rest = f"'jobfleet explain {undo_id}' says more"
    text = f"Its steps are undone by {undo_id} ({status}): {rest}."
    return Reason(ReasonCode.UNDOING, text, {"undo": undo_id, "status": status})


def flow_stopped(seen: Snapshot) -> Reason | None:
    """Which jobs of its flow have stopped because of it, and what continues the flow."""
    stopped, job = seen.stopped, seen.job
    if stopped is None or job is None:
        return None
    retry = f"'jobfleet flow retry {stopped.flow}'"
    facts: dict[str, Fact] = {"flow": stopped.flow, "name": stopped.name, "jobs": stopped.jobs}
    if not stopped.jobs:
        text = f"The flow {stopped.name!r} can be continued, which enqueues this job again: {retry}."
        return Reason(ReasonCode.FLOW_STOPPED, text, facts)
    number, was, them = counted(stopped.jobs, "job"), "was", "it"
    if stopped.jobs > 1:
        was, them = "were", "them"
    least = "" if stopped.is_all else "at least "
    text = f"Because of it, {least}{number} of the flow {stopped.name!r} {was} cancelled; {retry} "
    text += f"{'replays this job, and ' if job.status is JobStatus.FAILED else ''}enqueues {them} again."
    return Reason(ReasonCode.FLOW_STOPPED, text, facts)


def _error(seen: Snapshot) -> str:
    text = seen.job.error_text if seen.job is not None else ""
    return " ".join(text.split()).removesuffix(".") or "no error is known"


def blocking(seen: Snapshot) -> Reason | None:
    """The event loop of its child does not turn."""
    found = seen.lane.found
    child = found.run.child if isinstance(found, InRun) else ""
    place = next(((one, each) for one in seen.workers for each in one.processes if each.id == child), None)
    if place is None or place[0].is_gone or place[1].state != HUNG:
        return None
    gone, held = _hung_for(seen, *place), seen.held.get(child, ())
    names = ["It" if name == seen.id else name for name in sorted(held, key=lambda name: name != seen.id)]
    text = f"{_block(names, 'its child', gone)}, so that the other coroutines there do not go on. {_remedy(child)}"
    return Reason(ReasonCode.BLOCKING, text, {"since": gone, "child": child, "jobs": held})


def hung(seen: Snapshot) -> Reason | None:
    """Children that could run it hang, and no other one has a free slot."""
    those = [worker for worker in able(seen) if worker.state == "running"]
    children = [(one, each) for one in those for each in one.processes if each.state in {HUNG, "running", "loading"}]
    stuck = [(one, each) for one, each in children if each.state == HUNG]
    if not seen.is_due or not stuck or not all(one.processes for one in those):  # an older worker reports no children
        return None
    if any(each.state != HUNG and each.running < each.slots for _, each in children):
        return None
    stuck.sort(key=lambda place: -(_hung_for(seen, *place) or 0.0))
    named = [_block(seen.held.get(each.id, ()), each.id, _hung_for(seen, one, each)) for one, each in stuck]
    more = len(named) - NAMED_WORKERS
    text = f"{_which(len(stuck), len(children))}. {'. '.join(named[:NAMED_WORKERS])}. "
    text += f"The same for {more} more. " if more > 0 else ""
    jobs = [job for _, each in stuck for job in seen.held.get(each.id, ())]
    facts = {"since": _hung_for(seen, *stuck[0]), "children": [each.id for _, each in stuck], "jobs": jobs}
    return Reason(ReasonCode.HUNG, text + _remedy(stuck[0][1].id), facts)


def _hung_for(seen: Snapshot, worker: WorkerInfo, child: ChildInfo) -> float | None:
    """Seconds since the event loop has turned; None if the worker does not report it."""
    if not child.hung_for or worker.beat is None:
        return None
    return child.hung_for + max(0.0, seen.ago(round(worker.beat.timestamp() * 1e6)))


def _block(jobs: Sequence[str], child: str, gone: float | None) -> str:
    """The sentence that says which jobs may block an event loop, and for how long they do."""
    if not jobs:
        return f"The event loop of {child} does not turn" + ("" if gone is None else f" for {span(gone)}")
    who = jobs[0] if len(jobs) == 1 else f"{jobs[0]}, or one of {listed(jobs[1:])},"
    return f"{who} blocks the event loop of {child}" if gone is None else (
        f"{who} has blocked the event loop of {child} for {span(gone)}"
    )  # fmt: skip


def _which(stuck: int, children: int) -> str:
    if children == 1:
        return "The only child that could run it hangs"
    if stuck == children:
        return f"All {children} children that could run it hang"
    return f"Of {children} children that could run it, {stuck} {'hangs' if stuck == 1 else 'hang'}, the others are full"


def _remedy(child: str) -> str:
    return (
        "Await in its 'async def', or make it a plain 'def', which runs in a thread; "
        f"'jobfleet workers stacks {child}' shows where it is."
    )


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
        reasons = _asked(seen, (ended, undoing, flow_stopped))
    elif job.status is JobStatus.RUNNING:
        reasons = _asked(seen, (*RUNNING, flow_stopped))
    else:
        reasons = _asked(seen, WAITING)
        if not reasons and job.status is JobStatus.QUEUED:
            reasons = [next_in_line(seen)]
        reasons += _asked(seen, (expiring, flow_stopped))
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
    """Explain that no such job is known."""
    return Reason(ReasonCode.UNKNOWN, text)
