"""Checks of jobs that wait. Each function returns one reason, or None. Pure."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from shlex import quote

from jobfleet.clock import local, moment, span, to_us
from jobfleet.functions.options import too_new
from jobfleet.model import JobStatus
from jobfleet.model.names import similar_function
from jobfleet.model.result import Fact, Reason, ReasonCode
from jobfleet.operations.explain.hindrances import (
    asked_by,
    because,
    did_you_mean,
    known_elsewhere,
    listed,
    unknown,
)
from jobfleet.operations.explain.snapshot import Snapshot
from jobfleet.operations.flows.unblock import GUARD, LOOK_EVERY
from jobfleet.operations.jobs.details import expiry_in
from jobfleet.operations.verb import counted
from jobfleet.operations.workers import WorkerInfo
from jobfleet.store.calls.control import read_functions
from jobfleet.store.calls.run import BY_TOKEN
from jobfleet.store.keys import is_blocked
from jobfleet.store.records import InWait

LATER = (JobStatus.SCHEDULED, JobStatus.RETRYING)


def not_due(seen: Snapshot) -> Reason | None:
    """Explain a job whose due time is in the future."""
    if seen.tries.parked_since or seen.job is None or seen.job.status not in LATER:
        return None
    left = -seen.ago(seen.due)
    if (signal := seen.lane.wait) is not None:
        return _suspended(seen, signal, left)
    failures, crashes, policy = seen.tries.failures, seen.tries.crashes, seen.policy
    if not failures and not crashes:
        at = datetime.fromtimestamp(seen.due // 1_000_000, UTC)
        text = f"Scheduled for {local(at)}: due in {span(left)}."
        return Reason(ReasonCode.SCHEDULED, text, {"due_in": left, "due": moment(seen.due)})
    most = policy.most_retries
    number = f"retry {failures}" if most is None else f"retry {failures} of {most}"
    what = number if not crashes else f"its run after crash {crashes}"
    if failures and crashes:  # which of them was last is not stored
        what = f"its next run, after {counted(failures, 'failed run')} and {counted(crashes, 'crashed run')}"
    text = f"Waiting for {what}, due in {span(left)}{_after(seen)}{_last_retry(seen)}"
    facts = {
        "due_in": left, "due": moment(seen.due), "retry": failures, "max_retries": most,
        "crashes": crashes, "max_crashes": policy.max_crashes, "error": _last_words(seen),
        "retry_until": _retry_until(seen),
    }  # fmt: skip
    return Reason(ReasonCode.RETRYING, text, facts)


def _suspended(seen: Snapshot, signal: str, left: float) -> Reason:
    """It waits since a run: for a time, or for a signal."""
    until = local(datetime.fromtimestamp(seen.due // 1_000_000, UTC))
    facts: dict[str, Fact] = {"due_in": left, "due": moment(seen.due)}
    if not signal:
        return Reason(ReasonCode.SLEEPING, f"Sleeping until {until}: continues in {span(left)}.", facts)
    text = f"Waiting for signal {signal} until {until}, for {span(left)} more; "
    if signal.startswith(BY_TOKEN):
        signal = signal.removeprefix(BY_TOKEN)
        text = f"Waiting for signal {signal} until {until}, for {span(left)} more; only a token of the job sends it."
        return Reason(ReasonCode.AWAITING_SIGNAL, text, {**facts, "signal": signal})
    text += f"'jobfleet signal {seen.job.id if seen.job else 'ID'} {shlex.quote(signal)} VALUE' sends it."
    return Reason(ReasonCode.AWAITING_SIGNAL, text, {**facts, "signal": signal})


def _retry_until(seen: Snapshot) -> datetime | None:
    """The time after which no retry is due; None for no bound, or before the first failed run."""
    bound, since = seen.policy.retry_for, seen.tries.first_due
    return moment(since + to_us(bound)) if bound is not None and since else None


def _last_retry(seen: Snapshot) -> str:
    until = _retry_until(seen)
    return "" if until is None else f" No retry is due after {local(until)}."


def blocked(seen: Snapshot) -> Reason | None:
    """Explain a job that waits for its parents."""
    if seen.job is None or seen.job.status is not JobStatus.BLOCKED:
        return None
    if not seen.unmet and seen.is_guarded:
        text = (
            "Waits until its producer has written the whole flow, or named all parents. If the producer died, a reaper "
            f"starts a flow that is written within {span(LOOK_EVERY)}, and cancels what is not after {span(GUARD)}."
        )
        return Reason(ReasonCode.BLOCKED, text, {"parents": seen.parents, "unmet": ()})
    if not seen.unmet and is_behind(seen):
        return None
    if not seen.unmet:
        text = "Blocked, though all jobs that it waits for have ended: a worker or a reaper unblocks it in a moment."
        return Reason(ReasonCode.BLOCKED, text, {"parents": seen.parents, "unmet": ()})
    named = ", ".join(f"{parent.id} ({parent.status or 'open'})" for parent in seen.unmet)
    more = seen.unmet_count - len(seen.unmet)
    text = f"Waits for {seen.unmet_count:,} of {counted(seen.parents, 'job')}: {named}"
    text += f" and {more:,} more." if more else "."
    if failed := next((parent.id for parent in seen.unmet if parent.status == JobStatus.FAILED), None):
        text += (
            f" It waits for a replay of {failed} ('jobfleet dead replay {failed}'), and is cancelled when the dead "
            "letter and the result of that job are gone."
        )
    unmet: Fact = [parent.id for parent in seen.unmet]
    facts: dict[str, Fact] = {"parents": seen.parents, "unmet_count": seen.unmet_count, "unmet": unmet}
    return Reason(ReasonCode.BLOCKED, text, facts)


def _last_words(seen: Snapshot) -> str | None:
    return seen.job.error if seen.job is not None else None


def _after(seen: Snapshot) -> str:
    """The end of a sentence about a job that has run before."""
    error = _last_words(seen)
    return f"; its last run: {error.removesuffix('.')}." if error else "."


def parked(seen: Snapshot) -> Reason | None:
    """A worker had it and could not run it."""
    since = seen.tries.parked_since
    if not since:
        return None
    grace, gone, left = seen.policy.unknown_grace, seen.ago(since), max(0.0, -seen.ago(seen.due))
    until = max(0.0, grace - gone)
    why = _why_parked(seen)
    text = f"Parked {span(gone)} ago: {why}{'' if why.endswith(('.', '?')) else '.'} "
    text += f"Tried again {f'in {span(left)}' if left else 'at once'}; "
    text += f"goes to the dead letters {f'in {span(until)}' if until else 'then'}."
    return Reason(ReasonCode.PARKED, text, {"since": gone, "due_in": left, "dead_in": until, "error": why})


def _why_parked(seen: Snapshot) -> str:
    """The reason of the worker that parked it. That worker suggests only its own functions; others may be closer."""
    if newer_than := _newer_than_published(seen):
        return newer_than
    why = _last_words(seen) or "no worker could run it"
    if seen.job is None or seen.job.function in seen.functions or not why.startswith("no worker knows "):
        return why
    return f"no worker knows {seen.job.function!r}{did_you_mean(similar_function(seen.job.function, seen.functions))}"


def paused(seen: Snapshot) -> Reason | None:
    """Explain a job whose queue is paused."""
    if seen.lane.paused_by is None or seen.job is None:
        return None
    queue, by, gone = seen.job.queue, seen.lane.paused_by, seen.ago(seen.lane.paused_at)
    text = f"Queue {queue!r} was paused{asked_by(by)} {span(gone)} ago{because(seen.lane.reason)}; "
    text += f"'jobfleet queues resume {queue}' opens it."
    facts: dict[str, Fact] = {"queue": queue, "by": None if by == "-" else by, "since": gone}
    if seen.lane.reason:
        facts["reason"] = seen.lane.reason
    return Reason(ReasonCode.PAUSED, text, facts)


def paused_function(seen: Snapshot) -> Reason | None:
    """Its function is paused, in its queue or everywhere."""
    job = seen.job
    if job is None or job.status is JobStatus.BLOCKED:
        return None
    pause = read_functions(seen.lane.functions).get(job.function)
    if pause is None:
        if not seen.is_withheld:
            return None
        text = f"Function {job.function!r} was paused, and is resumed: the job is put back in a moment."
        return Reason(ReasonCode.PAUSED_FUNCTION, text, {"function": job.function})
    gone = seen.ago(pause.at)
    text = f"Function {job.function!r} was paused{asked_by(pause.by)} {span(gone)} ago{because(pause.reason)}; "
    text += f"'jobfleet queues resume {job.queue} --function {job.function}' lets it go on."
    facts: dict[str, Fact] = {"function": job.function, "by": pause.by, "since": gone}
    if pause.reason:
        facts["reason"] = pause.reason
    return Reason(ReasonCode.PAUSED_FUNCTION, text, facts)


def unknown_function(seen: Snapshot) -> Reason | None:
    """No live worker knows its function."""
    job = seen.job
    if job is None or seen.tries.parked_since:
        return None
    lacking = unknown(job.function, seen.functions, seen.kinds, seen.workers)
    if lacking is None:
        return None
    return Reason(ReasonCode.UNKNOWN_FUNCTION, lacking.text, {"function": job.function, "meant": lacking.meant})


def newer_schema(seen: Snapshot) -> Reason | None:
    """Its arguments have a later version than the function that workers have published."""
    text, details = _newer_than_published(seen), seen.details
    if not text or details is None or seen.tries.parked_since:
        return None
    facts: dict[str, Fact] = {"needed": details.schema_version, "published": details.function_version}
    return Reason(ReasonCode.NEWER_SCHEMA, f"{text} The job is parked until a worker has it.", facts)


def _newer_than_published(seen: Snapshot) -> str:
    details = seen.details
    if details is None or details.function_version is None or details.schema_version <= details.function_version:
        return ""
    return too_new(details.job.function, details.schema_version, f"the workers have {details.function_version}")


def elsewhere(seen: Snapshot) -> Reason | None:
    """No worker both knows its function and serves its queue, though some worker does each."""
    job = seen.job
    found = None if job is None else known_elsewhere(job.function, job.queue, seen.kinds, seen.workers)
    if job is None or found is None:
        return None
    names = found.workers
    know, do = ("knows", "does") if len(names) == 1 else ("know", "do")
    text = f"{listed(names)} {know} {job.function!r} and {do} not serve the queue {job.queue!r}; "
    text += "those that serve it do not know the function. "
    text += found.remedy(job.id, job.queue)
    return Reason(ReasonCode.ELSEWHERE, text, {"function": job.function, "queue": job.queue, "workers": names})


def unserved(seen: Snapshot) -> Reason | None:
    """No live worker serves its queue."""
    if seen.job is None or serving(seen):
        return None
    queue, alive = seen.job.queue, [worker for worker in seen.workers if not worker.is_gone]
    text = f"No worker serves the queue {queue!r}"
    if alive:
        names = listed([f"{worker.id} ({', '.join(worker.queues) or 'none yet'})" for worker in alive])
        text += f"; there are {names}. Start one with '-Q {queue}'."
    else:
        text += f", nor any other; start one: 'jobfleet worker MODULE -Q {queue}'."
    return Reason(ReasonCode.UNSERVED, text, {"queue": queue, "workers": [one.id for one in alive]})


def serving(seen: Snapshot) -> list[WorkerInfo]:
    """The live workers that serve its queue."""
    queue = seen.job.queue if seen.job is not None else ""
    return [worker for worker in seen.workers if not worker.is_gone and queue in worker.queues]


def able(seen: Snapshot) -> list[WorkerInfo]:
    """The workers of `serving` that know its function; all of them when none knows it, or that is not reported."""
    kinds = {kind.kind for kind in seen.knowers}
    return [one for one in serving(seen) if not kinds or not one.kinds or not kinds.isdisjoint(one.kinds)]


def quiet(seen: Snapshot) -> Reason | None:
    """The workers that could run it do not claim jobs."""
    those = able(seen)
    if not those or any(worker.state == "running" for worker in those):
        return None
    states = listed([f"{worker.id} is {worker.state}{asked_by(worker.state_by)}" for worker in those])
    text = f"No worker that serves its queue takes new jobs: {states}"
    idle = next((worker.id for worker in those if worker.state == "quiet"), None)
    text += f"; 'jobfleet workers resume {idle}' lets it go on." if idle else "."
    return Reason(ReasonCode.QUIET, text, {"workers": [worker.id for worker in those]})


def busy(seen: Snapshot) -> Reason | None:
    """All slots that could run it are taken."""
    those = [worker for worker in able(seen) if worker.state == "running"]
    slots, running = sum(worker.slots for worker in those), sum(worker.running for worker in those)
    if not those or not seen.is_due or running < slots:
        return None
    text = f"No free slot: {running} of {slots} are taken at {counted(len(those), 'worker')} that could run it."
    return Reason(ReasonCode.BUSY, text, {"running": running, "slots": slots, "workers": [one.id for one in those]})


def behind(seen: Snapshot) -> Reason | None:
    """Other jobs are claimed before it."""
    found = seen.lane.found
    if not isinstance(found, InWait) or not seen.is_due or seen.lane.group is not None:
        return None
    more_urgent = sum(seen.lane.due[: found.band])
    ahead = more_urgent + seen.lane.rank
    if not ahead:
        return None
    text = f"{counted(ahead, 'job')} ahead of it: {more_urgent:,} more urgent, {seen.lane.rank:,} of its own priority."
    return Reason(ReasonCode.BEHIND, text, {"ahead": ahead, "more_urgent": more_urgent, "same": seen.lane.rank})


def next_in_line(_seen: Snapshot) -> Reason:
    """Explain a job that the next free worker claims."""
    return Reason(ReasonCode.NEXT, "Next in line: a worker should claim it now.")


def expiring(seen: Snapshot) -> Reason | None:
    """It expires unless its first run starts in time."""
    found = seen.lane.found
    at = expiry_in(seen.lane.meta)
    if not at or not isinstance(found, InWait) or found.tries:
        return None
    left = -seen.ago(at)
    if left <= 0:
        text = f"Expired {span(-left)} ago: it will not be started any more."
    elif at < seen.due and not is_blocked(seen.due):
        text = f"Expires in {span(left)}, before it is due."
    else:
        text = f"Expires in {span(left)} unless it has started by then."
    return Reason(ReasonCode.EXPIRING, text, {"expires_in": left, "expires": moment(at)})


def is_behind(seen: Snapshot) -> bool:
    """Whether another job is the head of its sequence."""
    return seen.lane.sequence is not None and seen.lane.sequence.head != seen.id


def in_sequence(seen: Snapshot) -> Reason | None:
    """Another job is the head of its strict sequence."""
    place, group = seen.lane.sequence, seen.lane.group
    if place is None or group is None or seen.job is None or not is_behind(seen):
        return None
    text = f"Waits behind {place.head}, the head of its sequence {group.name!r}, which {_state(seen)}"
    more = place.before - (place.state not in ("parked", "failing"))
    text += f"; {counted(more, 'job')} between them." if more > 0 else "."
    if place.state == "parked":
        flag = f"{quote(group.name)} --queue {seen.job.queue}"
        text += (
            f" 'jobfleet groups resume {flag}' continues behind it; 'jobfleet dead replay {place.head}' runs it again, "
            "unless it was forgotten."
        )
    facts: dict[str, Fact] = {"sequence": group.name, "head": place.head, "state": place.state, "before": place.before}
    return Reason(ReasonCode.SEQUENCE, text, facts)


def _state(seen: Snapshot) -> str:
    """What the head does, as a clause."""
    place = seen.lane.sequence
    assert place is not None  # noqa: S101 - the caller has one
    match place.state:
        case "running":
            return "runs"
        case "blocked":
            return "waits for its parents"
        case "withheld":
            return "waits until its function is resumed"
        case "parked":
            return "has failed, so the sequence is parked"
        case "failing":
            return "has failed, so the jobs behind it fail"
        case _ if place.due > seen.lane.now:
            at = local(datetime.fromtimestamp(place.due // 1_000_000, UTC))
            left = span((place.due - seen.lane.now) / 1e6)
            if place.state == "sleeping":
                what = f"waits for signal {place.signal}" if place.signal else "sleeps"
                return f"{what} until {at}, for {left} more"
            return f"is due at {at}, in {left}"
        case _:
            return "is queued"
