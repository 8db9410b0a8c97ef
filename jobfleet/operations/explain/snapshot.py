"""Read the snapshot that `explain` judges: the job, its lane, and the workers and functions of the fleet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobfleet.codec import header_or_empty
from jobfleet.errors import JobNotFound
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.limits import BreakerInfo, NamedLimit
from jobfleet.model.result import JobDetails
from jobfleet.operations.explain.held import Held, held_by_hung
from jobfleet.operations.explain.undo import Undo, undo_of
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.details import details_of, envelope_of, policy_in
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.payloads import readable
from jobfleet.operations.results import result_of
from jobfleet.operations.workers.info import WorkerInfo, workers_of
from jobfleet.retry.decision import Policy
from jobfleet.retry.tries import FRESH, Tries
from jobfleet.store.calls import flow, inspect, run
from jobfleet.store.calls.inspect import Explained
from jobfleet.store.calls.run import Awaited, chunks
from jobfleet.store.keys import Lane, due_of_score, is_blocked, is_withheld
from jobfleet.store.records import FleetSeen, InRun, InWait, KindSeen, KindsSeen

SHOWN = 5
"""How many parents are named."""


class UnmetParent(NamedTuple):
    """A parent that has not completed.

    Attributes:
        id: The id of the parent.
        status: Its status in a word; ``gone`` when it is not known.
    """

    id: str
    status: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A job and its surroundings at one moment.

    Attributes:
        id: The id of the job.
        lane: What the lane stores about it.
        job: The job as `poll` returns it; None when it is unknown.
        details: The job in full; None when it is unknown.
        tries: Its runs so far.
        policy: Its retry policy.
        workers: The workers whose heartbeat is remembered, gone workers included.
        functions: The names of the published functions.
        kinds: The kinds of live workers, and the functions that they know.
        parents: How many parents it has.
        is_guarded: Whether it waits until its producer has written the whole flow.
        unmet: The first parents that have not completed.
        unmet_count: How many parents have not completed.
        awaited: The lock for which its code waits.
        emitted: How many chunks of output its present run has stored.
        held: By child that hangs, the jobs that may block its event loop.
        record: The published record of its function; None if there is none.
        gates: The named limits and the circuit breaker of a waiting job.
        undo: The job that undoes its steps, while something is left to undo.
    """

    id: str
    lane: Explained
    job: JobResult[Any] | None = None
    details: JobDetails[Any] | None = None
    tries: Tries = FRESH
    policy: Policy = field(default_factory=Policy)
    workers: tuple[WorkerInfo, ...] = ()
    functions: frozenset[str] = frozenset()
    kinds: tuple[KindSeen, ...] = ()
    parents: int = 0
    is_guarded: bool = False
    unmet: tuple[UnmetParent, ...] = ()
    unmet_count: int = 0
    awaited: Awaited | None = None
    emitted: int = 0
    held: Held = field(default_factory=dict)
    record: bytes | None = None
    gates: tuple[NamedLimit | BreakerInfo, ...] = ()
    undo: Undo | None = None

    @property
    def due(self) -> int:
        """Its due time, µs since 1970; 0 when it does not wait."""
        return due_of_score(self.lane.found.due) if isinstance(self.lane.found, InWait) else 0

    @property
    def is_withheld(self) -> bool:
        """Whether it was set aside because its function is paused."""
        return isinstance(self.lane.found, InWait) and is_withheld(self.lane.found.due)

    @property
    def is_due(self) -> bool:
        """Whether it is queued and not withheld, so that a worker may claim it."""
        return self.job is not None and self.job.status is JobStatus.QUEUED and not self.is_withheld

    @property
    def knowers(self) -> list[KindSeen]:
        """The kinds of live workers that know its function."""
        return [kind for kind in self.kinds if self.job is not None and self.job.function in kind.functions]

    def ago(self, us: int) -> float:
        """Seconds since a time of the clock of Redis, given in µs since 1970; negative for a future time."""
        return (self.lane.now - us) / 1e6


def take(context: FleetContext, job_id: str) -> Operation[Snapshot]:
    """Read a snapshot of a job.

    Raises:
        JobNotFound: `job_id` is not a job id.
    """
    lane = context.keys.lane_of(job_id)
    answers = yield (
        inspect.explain(lane, job_id),
        context.fleet_call(),
        context.kinds_call(),
        flow.guarded(lane, job_id),
        inspect.letter(lane, job_id),
    )
    seen: Explained = value(answers[:1])
    fleet: FleetSeen = value(answers[1:2])
    kinds: KindsSeen = value(answers[2:3])
    is_guarded, states = value(answers[3:4])
    header = header_or_empty(seen.found.envelope) if isinstance(seen.found, InWait | InRun) else {}
    is_held = isinstance(seen.found, InWait) and is_blocked(seen.found.due)
    unmet = [state.parent for state in states if not state.status] if is_held else []
    shown = (yield from poll_many(context, unmet[:SHOWN])) if unmet else []
    awaited, emitted = (
        (yield from _of_run(context, lane, job_id, seen.found)) if isinstance(seen.found, InRun) else (None, 0)
    )
    job = _job(context, job_id, seen)
    letter, workers = value(answers[4:]), tuple(workers_of(context, fleet))
    is_open = isinstance(seen.found, InWait | InRun)
    envelope = (yield from readable(context, envelope_of(seen, letter))) if job is not None else b""
    return Snapshot(
        job_id,
        seen,
        job=job,
        details=None if job is None else details_of(context, job, seen, letter, states, fleet, envelope=envelope),
        tries=Tries.parse(seen.found.tries) if isinstance(seen.found, InWait | InRun) else FRESH,
        policy=policy_in(context.config, header, fleet),
        workers=workers,
        functions=frozenset(fleet.functions),
        kinds=kinds.kinds,
        parents=len(states) if is_held else 0,
        is_guarded=is_guarded and is_held,
        unmet=tuple(
            UnmetParent(parent, str(row.status) if row is not None else "gone")
            for parent, row in zip(unmet[:SHOWN], shown, strict=True)
        ),
        unmet_count=len(unmet),
        awaited=awaited,
        emitted=emitted,
        held=(yield from held_by_hung(context, lane.queue, workers)) if is_open else {},
        record=fleet.functions.get(job.function) if job is not None else None,
        undo=(yield from undo_of(context, job, fleet)),
    )


def _of_run(context: FleetContext, lane: Lane, job_id: str, found: InRun) -> Operation[tuple[Awaited | None, int]]:
    """The lock for which the code of a run waits, and how many chunks of output the run has stored."""
    answers = yield (run.awaited(context.keys, job_id), chunks(lane, job_id, tail=1))
    last, _ = value(answers[1:])
    return value(answers[:1]), last[-1].n if last and last[-1].token == found.run.token else 0


def _job(context: FleetContext, job_id: str, seen: Explained) -> JobResult[Any] | None:
    try:
        return result_of(job_id, seen.found, seen.now, limits=context.limits)
    except JobNotFound:
        return None
