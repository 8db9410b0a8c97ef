"""The past fires of recurring jobs: what the ledger has, and what came of the jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from jobfleet.clock import span
from jobfleet.codec import decode
from jobfleet.cron import Cron, FireOutcomes, from_us, to_us
from jobfleet.cron.outcomes import End, FiredJob
from jobfleet.errors import EncodingError, InvalidJob, JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.model import JobResult, JobStatus
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import EachLane, Operation, by_lane
from jobfleet.operations.results import result_of
from jobfleet.operations.verb import counted
from jobfleet.store.calls import ended, inspect
from jobfleet.store.keys import Lane
from jobfleet.store.rows import kept, report

GONE = "gone"
"""The status of a job of which nothing is known any more."""
PARKED = "parked"
UNREADABLE = "unreadable"
MADE = frozenset({"fired", "late"})
"""The outcomes of fires that made a job."""
ERROR_MOST = 300
"""Characters of the first line of an error."""


class CronFire(NamedTuple):
    """One planned fire, and what came of its job.

    Attributes:
        at: The planned time.
        outcome: What the scheduler did: fired, late, skipped, missed or overlapped.
        job_id: The job of the fire; for ``overlapped`` the job that was still open.
        nominal: The local time of the schedule, as an instant.
        note: How a change of the clocks moved it; may be empty.
        status: The status of the job of the fire, or ``parked``, or ``gone`` when its result has expired; None if the
            fire made no job.
        error: The first line of the error of that job; empty if it has none.
        ended_at: When that job ended; None if it has not.
        duration: How long its last run took, or has taken so far; None if that is not known.
    """

    at: datetime
    outcome: str
    job_id: str | None
    nominal: datetime
    note: str
    status: str | None = None
    error: str = ""
    ended_at: datetime | None = None
    duration: timedelta | None = None

    @property
    def word(self) -> str:
        """What came of the fire in a word: the status of its job, or why it made none."""
        return self.status or self.outcome


def fires_of(notes: Sequence[tuple[int, str]]) -> list[CronFire]:
    """Decode notes of the ledger of an entry; leave out those that cannot be read."""
    return kept(notes, lambda note: _fire_of(*note), "the ledger of a recurring job")


def _fire_of(at: int, text: str) -> CronFire:
    outcome, job_id, nominal, *note = text.split(" ", 3)
    return CronFire(from_us(at), outcome, None if job_id == "-" else job_id, from_us(int(nominal)), "".join(note))


def with_jobs(context: FleetContext, fires: Sequence[CronFire]) -> Operation[list[CronFire]]:
    """Add to fires what came of their jobs."""
    ids = [fire.job_id for fire in fires if fire.outcome in MADE and fire.job_id]
    states = yield from states_of(context, ids)
    return [_with_job(fire, states) if fire.outcome in MADE and fire.job_id else fire for fire in fires]


State = JobResult[Any] | JobfleetError | None


def _with_job(fire: CronFire, states: Mapping[str, State]) -> CronFire:
    job = states.get(str(fire.job_id))
    if job is None:
        return fire._replace(status=GONE)
    if isinstance(job, JobfleetError):
        return fire._replace(status=UNREADABLE, error=first_line(str(job)))
    status = PARKED if job.parked_since and not job.status.is_final else str(job.status)
    is_over = job.status is not JobStatus.COMPLETED
    error = first_line(job.error_text) if is_over else ""
    return fire._replace(status=status, error=error, ended_at=job.completed_at, duration=job.duration)


def first_line(text: str) -> str:
    """The first line of a text, cut to `ERROR_MOST` characters."""
    line = next(iter(text.strip().splitlines()), "")
    return line if len(line) <= ERROR_MOST else f"{line[: ERROR_MOST - 1]}…"


def states_of(context: FleetContext, ids: Iterable[str]) -> Operation[dict[str, State]]:
    """Read jobs without their returned values; None for an unknown job, and the error for one that cannot be read.

    It costs one trip, and another one if some of the jobs have not ended.
    """
    states: dict[str, State] = {}
    jobs: list[tuple[Lane, str]] = []
    for job_id in dict.fromkeys(ids):
        states[job_id] = None
        with suppress(JobNotFound):  # a text that is not an id names no job
            jobs.append((context.keys.lane_of(job_id), job_id))
    parts = by_lane(jobs, ended.CHUNK)
    for is_single in (False, True):
        again: list[tuple[Lane, list[str]]] = []
        answers = (yield EachLane([ended.outcomes(lane, part) for lane, part in parts])) if parts else []
        for (lane, part), answer in zip(parts, answers, strict=True):
            if isinstance(answer, JobfleetError):
                if is_single or isinstance(answer, StoreUnavailable):
                    states |= dict.fromkeys(part, answer)
                else:  # one record that is refused must not cost the others
                    again += [(lane, [job_id]) for job_id in part]
                continue
            states |= {job_id: _read(context, job_id, one, 0) for job_id, one in zip(part, answer, strict=True) if one}
        parts = again
    yield from _open_states(context, jobs, states)
    return states


def _open_states(context: FleetContext, jobs: Sequence[tuple[Lane, str]], states: dict[str, State]) -> Operation[None]:
    """Add the states of the jobs without an ending: of the open ones, and of dead letters whose result has expired."""
    left = by_lane([(lane, job_id) for lane, job_id in jobs if states[job_id] is None], inspect.CHUNK)
    while left:
        answers = yield EachLane([inspect.first_states(lane, part, bare=True) for lane, part in left])
        rest: list[tuple[Lane, list[str]]] = []
        for (lane, part), answer in zip(left, answers, strict=True):
            if isinstance(answer, JobfleetError):
                states |= dict.fromkeys(part, answer)
                continue
            now, found = answer
            states |= {job_id: _read(context, job_id, one, now) for job_id, one in zip(part, found, strict=False)}
            if part[len(found) :]:
                rest.append((lane, part[len(found) :]))
        left = rest


def _read(context: FleetContext, job_id: str, found: Any, now: int) -> State:
    try:
        return result_of(job_id, found, now, limits=context.limits)
    except JobNotFound:
        return None
    except JobfleetError as error:
        return error


# The numbers that outlive the results: read and written by the process that fires, and read by everybody else.


def read_outcomes(name: str, record: bytes | None) -> FireOutcomes:
    """Decode what came of the fires of an entry; nothing is known without a record, or if it cannot be read."""
    if not record:
        return FireOutcomes()
    try:
        return FireOutcomes.load(decode(record))
    except (InvalidJob, EncodingError) as error:
        report([f"cron-outcomes has {name:.100}: {error}"])
        return FireOutcomes()


FIRST_READ = 20
"""Notes of a ledger that are read first; if all of them are new, `OPEN_MOST` follow."""


def with_notes(known: FireOutcomes, notes: Sequence[tuple[int, str]]) -> FireOutcomes:
    """Count the new fires of an entry.

    Args:
        known: What is known of it.
        notes: Its ledger: at least the notes since `known.until`.
    """
    fires = fires_of(notes)
    made = [FiredJob(to_us(fire.at), fire.job_id) for fire in fires if fire.outcome in MADE and fire.job_id]
    return known.with_fires(made, max((to_us(fire.at) for fire in fires), default=0))


def with_states(known: FireOutcomes, states: Mapping[str, State]) -> FireOutcomes:
    """Count those jobs of an entry that have ended.

    Args:
        known: What is known of it.
        states: The states of its `watched` jobs, and of others.
    """
    ends: dict[str, End | None] = {}
    moved: dict[str, str] = {}
    for at, job_id in known.watched:
        job = states[job_id]
        if isinstance(job, StoreUnavailable):
            continue
        if not isinstance(job, JobResult):  # it is gone, or cannot be read
            ends[job_id] = None
        elif job.moved_to:
            moved[job_id] = job.moved_to
        elif job.status.is_final:
            ended_at = at if job.completed_at is None else to_us(job.completed_at)
            ends[job_id] = End(at, job_id, job.status, ended_at)
    return known.with_ends(ends).moved(moved)


# What is wrong with a recurring job, for doctor, the pages and the command line.


@dataclass(frozen=True, slots=True)
class Concern:
    """What is wrong with the fires of a recurring job.

    Attributes:
        seen: What was seen, as a sentence.
        remedy: What to do about it.
        job_id: The job that the remedy is about.
    """

    seen: str
    remedy: str
    job_id: str


def concern_of(name: str, known: FireOutcomes, *, most: int) -> Concern | None:
    """Return what is wrong with the fires of an entry; None if nothing is.

    Args:
        name: The entry.
        known: What came of its fires.
        most: The number of failures in a row from which on an entry is failing.
    """
    is_failing = known.failures >= most
    last, number = known.last, known.fires - len(known.open)
    if not is_failing and not (known.has_never_completed and (last is not None or known.fires >= most)):
        return None
    if is_failing:
        seen = f"the last {counted(known.failures, 'job')} of {name} failed"
        seen += f", and none has completed in {counted(known.fires, 'fire')}" if known.has_never_completed else ""
    elif last is None:
        seen = f"{name} has fired {counted(known.fires, 'time')}, and none of its jobs has ended"
    else:
        seen = f"{name} has never completed: {counted(number, 'job')} ended, the last one {last.status}"
    return Concern(seen, _remedy(name, known), known.open[-1].id if last is None else last.id)


def _remedy(name: str, known: FireOutcomes) -> str:
    if known.last is None:
        return f"'jobfleet explain {known.open[-1].id}' says what its last job waits for."
    look = f"'jobfleet status {known.last.id}' has the error"
    if known.last.status is not JobStatus.FAILED:
        return f"'jobfleet cron history {name}' has its jobs; give them a worker, or more time."
    return f"{look}; mend the cause, then 'jobfleet dead replay {known.last.id}', or wait for the next fire."


def interval_of(cron: Cron, last: datetime | None, following: datetime | None) -> timedelta | None:
    """The time from a fire to the next one: from the last fire, else from the next one; None if there is none."""
    begin = last if last is not None else following
    fire = None if begin is None else cron.next(begin)
    return None if begin is None or fire is None else fire.at - begin


def seconds_of(fire: CronFire) -> str:
    """How long the job of a fire ran, for people; empty if that is not known."""
    return "" if fire.duration is None else span(fire.duration.total_seconds())
