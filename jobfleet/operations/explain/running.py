"""Checks of jobs that run or have ended. Each function returns one reason, or None. Pure."""

from __future__ import annotations

from typing import Any

from jobfleet.clock import span
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.result import Fact, Reason, ReasonCode
from jobfleet.operations.explain.reasons import asked_by, counted, listed
from jobfleet.operations.explain.snapshot import Snapshot
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
    """It runs."""
    found = seen.lane.found
    if not isinstance(found, InRun) or seen.job is None:
        return None
    run, gone, left = found.run, seen.ago(found.run.claimed), -seen.ago(seen.lane.deadline)
    text = f"Running for {span(gone)} on {run.child}, run {seen.job.attempt}"
    if seen.emitted:
        text += f"; it has emitted {counted(seen.emitted, 'chunk')}"
    text += f"; its lease ends in {span(left)} unless it is renewed." if left > 0 else "."
    facts: dict[str, Fact] = {
        "since": gone,
        "child": run.child,
        "run": seen.job.attempt,
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
    """It was asked to stop."""
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
    """Its lease has expired."""
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
            when = f"on run {job.attempt}" if job.attempt else "without a run"
            text = f"Failed{ago} {when}: {_error(seen)}; {_again(job)}."
            facts |= {"run": job.attempt, "error": job.error, "error_class": job.error_class, "child": job.worker}
            return Reason(ReasonCode.FAILED, text, facts)
        case JobStatus.CANCELLED if job.moved_to:
            facts |= {"by": by, "moved_to": job.moved_to}
            return Reason(ReasonCode.MOVED, f"Moved{asked_by(by)}{ago}: it is {job.moved_to} now.", facts)
        case JobStatus.CANCELLED:
            where = f", while it ran on {job.worker}" if job.worker else ""
            facts |= {"by": by, "child": job.worker}
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


def _error(seen: Snapshot) -> str:
    text = seen.job.error_text if seen.job is not None else ""
    return " ".join(text.split()).removesuffix(".") or "no error is known"
