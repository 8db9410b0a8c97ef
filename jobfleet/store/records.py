"""The values that calls take and return, and the rows of listings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.errors import JobNotFound
from jobfleet.model import JobStatus, split_id
from jobfleet.model.audit import from_word
from jobfleet.store.rows import Spoiled

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals


class Entry(NamedTuple):
    """One job to enqueue.

    Attributes:
        id: The job's id.
        band: The number of its sorted set, 0 for CRITICAL … 3 for LOW.
        when: ``""`` for now, ``"+n"`` for n µs from now, ``"n"`` for n µs since 1970.
        meta: Its clear record; see lib/base/meta.lua.
        envelope: Header and body.
    """

    id: str
    band: int
    when: str
    meta: str
    envelope: bytes


class Holder(NamedTuple):
    """The holder of the unique key of a job that was not enqueued.

    Attributes:
        id: The holder's id.
        status: The holder's state as a word; ``completed`` also if it has ended and its record was deleted.
        has_started: False if the holder can still be replaced or debounced.
    """

    id: str
    status: str
    has_started: bool


Answer = bool | Holder
"""The reply to one item of an enqueue: whether the job is new, or the holder of its unique key."""


class Grant(NamedTuple):
    """One claimed job.

    Attributes:
        id: Its id.
        token: The fencing token of this run.
        due: Time at which it was due, in µs of Redis's clock.
        band: The number of its sorted set.
        envelope: The envelope; empty if Redis has lost it.
        tries: What it has spent of its budgets.
        meta: Its clear record.
    """

    id: str
    token: int
    due: int
    band: int
    envelope: bytes
    tries: str
    meta: str


class Edit(NamedTuple):
    """The change of a dead letter's envelope for its replay.

    Attributes:
        entry: The entry of the expected dead letter; empty for any.
        envelope: The new envelope; empty to keep the old one.
        changed: The names of the arguments that differ, as one word; empty if that is not known.
    """

    entry: str = ""
    envelope: bytes = b""
    changed: str = ""


AS_IT_IS = Edit()


class Line(NamedTuple):
    """One line of a job's log.

    Attributes:
        token: The fencing token of the run that wrote it.
        n: The order of the lines of a run.
        at: Time in µs since 1970, by the worker's clock.
        level: A level number of `logging`.
        text: The text; may have several lines.
    """

    token: int
    n: int
    at: int
    level: int
    text: str


NO_FUNCTIONS: frozenset[str] = frozenset()


class Leave(NamedTuple):
    """The functions that a child leaves to others when it claims in a lane.

    Attributes:
        text: One line per function, for lib/waiting/foreign.lua; empty for none.
        kinds: The kinds of workers that know these functions, to be woken for jobs that are left.
    """

    text: str
    kinds: tuple[str, ...] = ()


NOTHING = Leave("")


class Claimed(NamedTuple):
    """The reply to a claim.

    Attributes:
        word: ``claimed``, ``empty``, ``paused``, ``buried`` or ``stale``.
        now: Redis's time, µs.
        next_due: Time at which the next job of the lane is due; 0 for none, or if more jobs are due now.
        grants: The claimed jobs.
        functions: The paused functions; their jobs must not start.
        past: The progress of a claim that leaves jobs to others; None for other claims.
        unreadable: Claimed rows that cannot be read.
        garbled_from: The first token of a claim whose ids cannot be separated in the reply, so that `granted` must read
            the claimed jobs again; 0 otherwise.
        seen: The number of the claim that made this one stale; 0 otherwise.
    """

    word: str
    now: int = 0
    next_due: int = 0
    grants: tuple[Grant, ...] = ()
    functions: frozenset[str] = NO_FUNCTIONS
    past: str | None = None
    unreadable: tuple[Spoiled, ...] = ()
    garbled_from: int = 0
    seen: int = 0


class RunRecord(NamedTuple):
    """The record of a run.

    Attributes:
        token: The fencing token.
        child: The child that runs it.
        claimed: Time of the claim, in µs of Redis's clock.
        lease: Duration of the claimed lease in µs.
        band: The number of the job's sorted set.
        cancel_by: Who requested the cancellation; empty if no one did.
        cancel_at: Time of that request in µs.
        stage: The last reported stage of stopping; empty if none was reported.
    """

    token: int
    child: str
    claimed: int
    lease: int
    band: int
    cancel_by: str
    cancel_at: int
    stage: str = ""

    @classmethod
    def parse(cls, text: str) -> RunRecord:
        """Parse the text that scripts write (lib/job/run.lua)."""
        token, child, claimed, lease, band, cancel = text.split("|", 5)
        if not cancel:
            return cls(int(token), child, int(claimed), int(lease), int(band), "", 0)
        by, at, stage = (*cancel.split("@"), "", "")[:3]
        return cls(int(token), child, int(claimed), int(lease), int(band), from_word(by), int(at or 0), stage)


class Held(NamedTuple):
    """A run that another process must decide about: its lease expired, or its child is dead."""

    id: str
    token: int
    run: RunRecord
    envelope: bytes
    tries: str
    meta: str


class Buried(NamedTuple):
    """The reply to a burial.

    Attributes:
        now: Redis's time, µs.
        held: The runs that the child still held.
        unreadable: Rows among them that cannot be read.
    """

    now: int
    held: tuple[Held, ...]
    unreadable: tuple[Spoiled, ...] = ()


class Cancelling(NamedTuple):
    """A running job with a request to cancel."""

    id: str
    token: int
    by: str


class Returned(NamedTuple):
    """The answer of `return_parked`.

    Attributes:
        jobs: The number of jobs that are due now.
        at: Where the next call begins.
    """

    jobs: int
    at: tuple[int, int]

    @property
    def is_over(self) -> bool:
        """Whether all parked jobs were seen: the plain jobs and those of groups, of four bands."""
        return self.at[0] >= 8


@dataclass(frozen=True, slots=True)
class Renewed:
    """The reply to a renewal."""

    now: int
    lost: tuple[tuple[str, int], ...]
    cancelled: tuple[Cancelling, ...]


class Doomed(NamedTuple):
    """Jobs that fail because the head of their strict sequence has failed: id, envelope and tries of each."""

    group: str
    head: str
    jobs: tuple[tuple[str, bytes, str], ...]


@dataclass(frozen=True, slots=True)
class Ticked:
    """The reply to a tick.

    Attributes:
        now: Redis's time, µs.
        next_due: Time at which the next job of the lane is due; 0 for none.
        hold: Time until which leases are not reaped; 0 if they are.
        overdue: Runs whose lease has expired.
        expired: Waiting jobs past their `expires_at`.
        functions: The functions that are paused or being resumed, one line each.
        watched: Number of jobs in the lane that have dependants.
        unrelayed: Number of endings of which dependants are still to be notified.
        unreadable: Rows among these that cannot be read.
        doomed: Jobs to fail because the head of their sequence has failed; None for none.
        levelled: Keys of which a member had another score than 0, so that Redis did not find other members.
    """

    now: int
    next_due: int
    hold: int
    overdue: tuple[Held, ...]
    expired: tuple[str, ...]
    functions: str = ""
    watched: int = 0
    unrelayed: int = 0
    unreadable: tuple[Spoiled, ...] = ()
    doomed: Doomed | None = None
    levelled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """The reply to one chunk of a settle.

    Attributes:
        is_stale: Whether a later settle of the same child came first, so that nothing was done.
        letters: One per item: s settled, d already done, l lost, c cancelled instead, a alive, h held.
        watched: Number of them that have dependants to notify.
    """

    is_stale: bool
    letters: str = ""
    watched: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of jobs in a lane.

    Attributes:
        now: Redis's time, µs.
        due: Number of claimable jobs per band, including jobs of paused functions.
        later: Number of jobs that are due later, per band.
        blocked: Number of blocked jobs, per band.
        running: Number of runs.
        dead: Number of dead letters.
        oldest_due: Due time of the longest waiting job in µs; 0 for none.
        paused: Who paused the lane; None if it is not paused.
        totals: Counts since the lane's beginning, and ``retrying``.
        expiring: Number of waiting jobs with an expiry.
        outbox: Number of endings of which dependants are still to be notified.
        unrelayed: Time of the oldest of these endings in µs; 0 for none.
        reason: The reason of the pause.
        functions: The functions that are paused or being resumed, one line each.
        durability: The durability that an operator has set; empty for none.
    """

    now: int
    due: tuple[int, ...]
    later: tuple[int, ...]
    blocked: tuple[int, ...]
    running: int
    dead: int
    oldest_due: int
    paused: str | None
    totals: Mapping[str, int]
    expiring: int = 0
    outbox: int = 0
    unrelayed: int = 0
    reason: str = ""
    functions: str = ""
    durability: str = ""


@dataclass(frozen=True, slots=True)
class Present:
    """The reply to a heartbeat.

    Attributes:
        now: Redis's time, µs.
        workers: Number of live workers.
        queues: Numbers of home lanes and of lanes of the queues that the worker serves.
        before: The previous account of the worker; empty if there was none.
    """

    now: int
    workers: int
    queues: Mapping[str, tuple[int, int]]
    before: bytes


class Known(NamedTuple):
    """The reply to a worker that publishes its kind.

    Attributes:
        is_new: Whether the functions of this kind have not been published yet.
        kinds: The kinds of live workers.
        mended: Number of keys that held something else and were deleted.
    """

    is_new: bool
    kinds: frozenset[str]
    mended: int


class KindSeen(NamedTuple):
    """A kind of workers, which know the same functions and serve the same queues.

    Attributes:
        kind: Its id.
        worker: A live worker of this kind.
        functions: Queue by function, and under "" the queues that are served; empty if it was not
            requested.
    """

    kind: str
    worker: str
    functions: Mapping[str, str]


class KindsSeen(NamedTuple):
    """The kinds of live workers.

    Attributes:
        others: Number of live workers of an earlier version that may know the requested function.
        kinds: The kinds.
    """

    others: int
    kinds: tuple[KindSeen, ...]


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker's account, and the time of its heartbeat."""

    id: str
    beat: int
    account: bytes


@dataclass(frozen=True, slots=True)
class FleetSeen:
    """A reading of the fleet.

    Attributes:
        now: Redis's time, µs.
        queues: Numbers of home lanes and of lanes by queue; empty if there are too many to list.
        workers: The workers with a recent heartbeat.
        functions: The records that workers have published, by function.
        paused: The functions that are paused in every queue.
        count: Number of queues.
        unreadable: Descriptions of entries that were left out because they cannot be read.
    """

    now: int
    queues: Mapping[str, tuple[int, int]]
    workers: tuple[WorkerSeen, ...]
    functions: Mapping[str, bytes]
    paused: str = ""
    count: int = 0
    unreadable: tuple[str, ...] = ()


# The rows of listings, and the states in which one job can be found; with keys, what a state holds is opened.


class Waiting(NamedTuple):
    """A row of the listing of waiting jobs; `wrong` is the reason if it cannot be read.

    `awaited` is what it waits for since a run: since when (µs, 0 if not known), a space, and the signal, if it has one.
    """

    id: str
    due: int
    tries: str
    envelope: bytes
    wrong: str = ""
    awaited: str = ""


class Running(NamedTuple):
    """A row of the listing of running jobs; `wrong` is the reason if it cannot be read."""

    id: str
    deadline: int
    run: RunRecord
    tries: str
    envelope: bytes
    progress: bytes
    wrong: str = ""


class Finished(NamedTuple):
    """A row of the listing of finished jobs."""

    entry: str
    suffix: str
    outcome: str
    duration: int


class DeadLetter(NamedTuple):
    """A row of the dead letters."""

    entry: str
    id: str
    reason: str
    band: int
    tries: str
    meta: str
    record: bytes
    envelope: bytes


def has_id(row: Waiting | Running | DeadLetter) -> bool:
    """Whether the id of a row is a job id; `doctor` reports other rows."""
    if not isinstance(row, DeadLetter) and not row.wrong:  # the listing has checked it
        return True
    try:
        split_id(row.id)
    except JobNotFound:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Final:
    """The ending of a job: the fields of `result:<id>`, and its record or envelope.

    `spent` has the counts of its tries, for a job without a record. `past` has the lines of its life that its record
    does not have.
    """

    status: str
    at: int
    token: int
    started: int
    child: str
    by: str
    reason: str
    body: bytes
    progress: bytes
    cancel_at: int = 0
    stage: str = ""
    spent: str = ""
    past: tuple[str, ...] = ()

    @property
    def proof(self) -> str:
        """What proves that the job has completed, without its record; empty if there is none. See `Seals.proof`."""
        return self.reason if self.reason.startswith("s:") else ""

    @property
    def moved_to(self) -> str:
        """The id of the job in the queue that it was moved to; empty if it was not moved."""
        return self.reason.removeprefix("moved:") if self.reason.startswith("moved:") else ""


@dataclass(frozen=True, slots=True)
class Dead:
    """A failed job whose result was deleted, but whose dead letter still exists."""

    record: bytes
    progress: bytes
    reason: str
    tries: str


@dataclass(frozen=True, slots=True)
class InRun:
    """A running job."""

    run: RunRecord
    progress: bytes
    tries: str
    envelope: bytes


@dataclass(frozen=True, slots=True)
class InWait:
    """A waiting job; `awaited` is what it waits for since a run, as in `Waiting`."""

    band: int
    due: int
    tries: str
    envelope: bytes
    progress: bytes
    awaited: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No such job."""


Found = Final | Dead | InRun | InWait | Unknown


def opened(seals: Seals, job_id: str, found: Found) -> Found:
    """Return the state of a job with its envelope, record and progress opened; what is not accepted is refused."""
    match found:
        case Final(body=body, progress=progress):
            body = seals.open_ending(job_id, found.status, found.token, found.proof, body)
            return replace(found, body=body, progress=_progress(seals, job_id, progress))
        case Dead(record=record, progress=progress):
            record, progress = seals.open_record(job_id, record, JobStatus.FAILED), _progress(seals, job_id, progress)
            return replace(found, record=record, progress=progress)
        case InRun(envelope=envelope, progress=progress) | InWait(envelope=envelope, progress=progress):
            envelope, progress = seals.open_envelope(job_id, envelope), _progress(seals, job_id, progress)
            return replace(found, envelope=envelope, progress=progress)
    return found


def opened_letter(seals: Seals, job_id: str, record: bytes, envelope: bytes) -> tuple[bytes, bytes]:
    """Open the record and the envelope of a dead letter."""
    return seals.open_record(job_id, record, JobStatus.FAILED), seals.open_envelope(job_id, envelope)


def opened_ending(seals: Seals, job_id: str, value: bytes) -> bytes:
    """Open the stored ending of a job: a line of fields, and its record or envelope; nothing of no ending."""
    if not value:
        return value
    line, newline, body = value.partition(b"\n")
    words = line.decode("utf-8", "replace").split(" ")
    status, token, proof = words[0], words[2] if len(words) > 2 else "", words[6] if len(words) > 6 else ""
    opened = seals.open_ending(job_id, status, int(token) if token.isdecimal() else -1, proof, body)
    return line + newline + opened


def _progress(seals: Seals, job_id: str, record: bytes) -> bytes:
    return seals.open_value(record, "progress", job_id)
