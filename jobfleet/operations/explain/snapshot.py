"""Read the snapshot that `explain` judges: the job, its lane, and the workers and functions of the fleet."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobfleet.codec import decode, header_or_empty
from jobfleet.errors import EncodingError, JobfleetError, JobNotFound
from jobfleet.functions.manifest import read_run_in
from jobfleet.functions.steps import UNDO
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.limits import BreakerInfo, NamedLimit
from jobfleet.model.result import JobDetails, Parent
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.stopped import Stopped, stopped_by
from jobfleet.operations.jobs.details import details_of, envelope_of, family_of, policy_in
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.payloads import readable
from jobfleet.operations.results import result_of
from jobfleet.operations.unreadable import read_or
from jobfleet.operations.workers import WorkerInfo, workers_of
from jobfleet.retry.decision import Policy
from jobfleet.retry.tries import FRESH, Tries
from jobfleet.store.calls import flow, inspect, run
from jobfleet.store.calls.inspect import Explained
from jobfleet.store.calls.run import Awaited, chunks
from jobfleet.store.keys import Lane, due_of_score, is_blocked, is_withheld
from jobfleet.store.records import FleetSeen, InRun, InWait, KindSeen, KindsSeen, Running

SHOWN = 5
"""How many parents are named."""


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
        unmet: Of the parents whose endings it waits for the first five: those that have ended come first.
        unmet_count: How many parents have not completed.
        awaited: The lock for which its code waits.
        emitted: How many chunks of output its present run has stored.
        held: By child that hangs, the jobs that may block its event loop.
        record: The published record of its function; None if there is none.
        gates: The named limits and the circuit breaker of a waiting job.
        undo: The job that undoes its steps, while something is left to undo.
        stopped: What has stopped in its flow because of it.
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
    unmet: tuple[Parent, ...] = ()
    unmet_count: int = 0
    awaited: Awaited | None = None
    emitted: int = 0
    held: Held = field(default_factory=dict)
    record: bytes | None = None
    gates: tuple[NamedLimit | BreakerInfo, ...] = ()
    undo: Undo | None = None
    stopped: Stopped | None = None

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
    open_ones = {state.parent for state in states if not state.status} if is_held else set()
    awaited, emitted = (
        (yield from _of_run(context, lane, job_id, seen.found)) if isinstance(seen.found, InRun) else (None, 0)
    )
    job = _job(context, job_id, seen)
    family = yield from family_of(context, job, states)
    letter, workers = value(answers[4:]), tuple(workers_of(context, fleet))
    is_open = isinstance(seen.found, InWait | InRun)
    envelope = (yield from readable(context, envelope_of(seen, letter))) if job is not None else b""
    details = None if job is None else details_of(context, job, seen, letter, family, fleet, envelope=envelope)
    return Snapshot(
        job_id,
        seen,
        job=job,
        details=details,
        tries=Tries.parse(seen.found.tries) if isinstance(seen.found, InWait | InRun) else FRESH,
        policy=policy_in(context.config, header, fleet),
        workers=workers,
        functions=frozenset(fleet.functions),
        kinds=kinds.kinds,
        parents=len(states) if is_held else 0,
        is_guarded=is_guarded and is_held,
        unmet=tuple(sorted((one for one in family.parents if one.id in open_ones), key=_place)[:SHOWN]),
        unmet_count=len(open_ones),
        awaited=awaited,
        emitted=emitted,
        held=(yield from held_by_hung(context, lane.queue, workers)) if is_open else {},
        record=fleet.functions.get(job.function) if job is not None else None,
        undo=(yield from undo_of(context, job, fleet)),
        stopped=(yield from stopped_by(context, details)),
    )


def _place(parent: Parent) -> int:
    return parent.place


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


Held = Mapping[str, tuple[str, ...]]
"""By the id of a child that hangs: the ids of its jobs that may block its event loop, the first claimed one first.

A child has none if not all of its jobs were found, because the one that blocks may be among the others.
"""

LANES_READ = 64
"""Most lanes whose running jobs are read."""
ROWS_READ = 500
"""Running jobs that a page has, without their envelopes."""
PAGES_READ = 20
"""Most pages of a lane: 10,000 running jobs."""
HUNG = "hung"


def held_by_hung(context: FleetContext, queue: str, workers: Sequence[WorkerInfo]) -> Operation[Held]:
    """Read which jobs may block the children that hang at the live workers of a queue; nothing is read if none hangs.

    Args:
        context: The context of the fleet.
        queue: The queue. Of the other queues of these workers, as many are read as have 64 lanes together.
        workers: The workers whose heartbeat is remembered.
    """
    serving = [one for one in workers if not one.is_gone and queue in one.queues]
    hung = {child.id: (one, child) for one in serving for child in one.processes if child.state == HUNG}
    if not hung:
        return {}
    known: FleetSeen = value((yield (inspect.fleet(context.keys),)))  # lists the queues, unless there are very many
    names = dict.fromkeys([queue, *(name for one, _ in hung.values() for name in one.queues)])
    lanes = [lane for name in names for lane in context.lanes_of(name, known.queues.get(name, (1, 1))[1])]
    held: dict[str, dict[str, Running]] = {child: {} for child in hung}
    is_whole = (yield from _read(lanes[:LANES_READ], held)) and len(lanes) <= LANES_READ
    found = {child: rows for child, rows in held.items() if is_whole or len(rows) >= hung[child][1].running}
    on_loop = yield from _on_loop(context, [job_id for rows in found.values() for job_id in rows], known.functions)
    return {child: _suspects(found.get(child, {}), on_loop) for child in hung}


def _read(lanes: Sequence[Lane], held: Mapping[str, dict[str, Running]]) -> Operation[bool]:
    """Add the runs of some lanes to those of their children; return whether all were seen.

    Of a lane with several pages this is not certain: a lease that is renewed between two reads moves in the listing.
    """
    left, is_whole = list(lanes), True
    for page in range(PAGES_READ):
        answers = yield tuple(inspect.running(lane, skip=page * ROWS_READ, limit=ROWS_READ, bare=True) for lane in left)
        full = []
        for lane, answer in zip(left, answers, strict=True):
            if isinstance(answer, JobfleetError):  # this Redis user may not read that queue: its jobs are not named
                is_whole = False
                continue
            for row in answer[1]:
                if row.run.child in held and not row.wrong:
                    held[row.run.child][row.id] = row
            if len(answer[1]) == ROWS_READ:
                full.append(lane)
        if not full:
            return is_whole
        left, is_whole = full, False
    return False


def _on_loop(context: FleetContext, ids: Sequence[str], functions: Mapping[str, bytes]) -> Operation[set[str]]:
    """Which running jobs have a function that runs on the event loop, or is not known."""
    by_lane: dict[Lane, list[str]] = {}
    for job_id in ids:
        by_lane.setdefault(context.keys.lane_of(job_id), []).append(job_id)
    parts = [(lane, part) for lane, mine in by_lane.items() for part in batches(mine, inspect.CHUNK)]
    if not parts:
        return set()
    answers = yield tuple(inspect.stored_status(lane, part) for lane, part in parts)
    return {
        job_id
        for (_, part), answer in zip(parts, answers, strict=True)
        if not isinstance(answer, JobfleetError)
        for job_id, state in zip(part, answer[1], strict=True)
        if isinstance(state, InRun) and _runs_on_loop(state, functions)
    }


def _suspects(rows: Mapping[str, Running], on_loop: Container[str]) -> tuple[str, ...]:
    """The jobs that run on the event loop; all of them if no function is known to."""
    ids = sorted(rows, key=lambda job_id: (rows[job_id].run.claimed, job_id))
    return tuple(job_id for job_id in ids if job_id in on_loop) or tuple(ids)


def _runs_on_loop(state: InRun, functions: Mapping[str, bytes]) -> bool:
    record = functions.get(str(header_or_empty(state.envelope).get("function", "")))
    return record is None or read_run_in(record) in {"async", ""}


GONE = "gone"
MOST_LANES = 64
"""In how many lanes of the queue the job is looked for."""


class Undo(NamedTuple):
    """The job that undoes the steps of another one.

    Attributes:
        id: Its id.
        status: Its status in a word; ``gone`` when it is not known.
    """

    id: str
    status: str


def undo_of(context: FleetContext, job: JobResult[Any] | None, fleet: FleetSeen) -> Operation[Undo | None]:
    """Return the job that undoes the steps of a job; None if nothing is left to undo.

    Its lane follows from the number of lanes at the time of its enqueue, so it is looked for in each lane of the queue.

    Args:
        context: The context of the fleet.
        job: The job whose steps are undone.
        fleet: The queues of the fleet.
    """
    if job is None or not job.status.is_final or job.status is JobStatus.COMPLETED or job.moved_to:
        return None
    lane = context.keys.lane_of(job.id)
    (answer,) = yield (run.steps(lane, job.id, UNDO)._replace(mends=False),)
    kept = read_or(answer, {}, [])
    if UNDO not in kept:
        return None
    try:
        suffix = str(decode(kept[UNDO], what="undo"))
    except EncodingError:
        return None
    lanes = context.lanes_of(lane.queue, fleet.queues.get(lane.queue, (1, 1))[1])[:MOST_LANES]
    ids = [one.id_prefix + suffix for one in lanes]
    found = [row for row in (yield from poll_many(context, ids)) if row is not None]
    return Undo(found[0].id, str(found[0].status)) if found else Undo(lane.id_prefix + suffix, GONE)
