"""What a caller learns about a job: its receipt, its state and result, its output, its details and its explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from jobfleet.errors import JobfleetError
from jobfleet.model.life import LifeEvent, event_of
from jobfleet.model.status import ErrorType, JobStatus, Priority, ShownState

ASIDE = (JobStatus.BLOCKED, JobStatus.CANCELLED)
"""The states of callbacks that have not run."""
PARENT = "parent:"
"""The beginning of the name that cancels a job because of the end of another one; its id follows."""
T_co = TypeVar("T_co", covariant=True)


class JobId(str, Generic[T_co]):
    """The id of a job, for type checkers: ``fleet.poll(fleet.enqueue(send.job("x")))`` knows the result's type.

    At run time an id is a plain `str`.
    """

    __slots__ = ()


class Receipt(NamedTuple):
    """The answer to one enqueue.

    Attributes:
        id: The job's id. If another job holds the unique key, the id of that job. For an item that `enqueue_many`
            refused, its suffix only.
        created: False if the job already existed, or if another job holds its unique key.
        status: QUEUED, SCHEDULED or BLOCKED after an enqueue. If another job holds the unique key, the status of that
            job, or COMPLETED if that job has ended and its record was deleted.
        durability: The level that was reached: ``fast``, ``replicated`` or ``fsync``.
        error: Why this item was refused. Only `enqueue_many` returns it; single calls raise it.
        callbacks: The ids of the job's callbacks, by ``on_success`` and ``on_failure``.
    """

    id: str
    created: bool
    status: JobStatus
    durability: str = "fast"
    error: JobfleetError | None = None
    callbacks: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class JobWait:
    """What a job waits for since a run of it ended: a signal, or the end of a sleep.

    Attributes:
        signal: The name of the signal; empty if the job sleeps.
        only_token: Whether only a token that the job has made sends it.
        since: When that run ended; None if this is not known, because an older worker ran it.
    """

    signal: str
    only_token: bool = False
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)  # no slots: CPython 3.11 could not call JobResult[int]
class JobResult(Generic[T_co]):
    """A snapshot of everything that is known about a job. Its `repr` leaves out the result, which may have passwords.

    Attributes:
        id: The job's id.
        status: Its state.
        result: What the function returned; None unless COMPLETED.
        error: The message of the last error.
        error_type: Whether the last error was TRANSIENT or PERMANENT.
        error_class: The name of the exception's class, or the reason (``crashed``, ``expired-lease``).
        traceback: The last part of the last error's traceback.
        progress: The last reported progress, from 0.0 to 1.0; 1.0 for a completed job, whatever it has reported.
        progress_message: The message of the last progress report.
        progress_details: The details of the last progress report.
        enqueued_at: When the producer created the job, by the producer's clock.
        scheduled_at: When a waiting job is due.
        parked_since: When a waiting job was first put back because no worker could run it; None if it was not.
        callback: ``on_success``, ``on_failure`` or ``undo`` if it is open or cancelled, and a callback or an undo of
            another job. Such a job is cancelled if it is not needed.
        callback_of: The id of that job.
        wait: What a waiting job waits for since a run, if it sleeps or waits for a signal; None otherwise.
        started_at: When its last run started.
        completed_at: When the job ended, in any final state.
        duration: How long its last run took.
        retry_count: Retries used so far, after failures. Runs after a crash or a lost lease are not counted.
        attempt: The number of the current or last run, from 1; 0 before the first run. Runs whose end was charged to no
            budget are not counted: a job whose worker was killed runs again with the same number.
        runs: How many times its code has begun, the current run included; also runs after which no budget was charged,
            because their worker was killed, lost the lease or stopped. A wait or a sleep begins no new run. Of a job
            that was cancelled or has expired, only charged runs are known.
        fence: The fencing token of that run. It increases with every claim of the job.
        worker: The worker process that ran the job last.
        cancel_requested_by: Who requested the cancellation of a running job.
        cancel_requested_at: When the cancellation was requested.
        stop_stage: The last stage of stopping that was reached: requested, asked (the job's context reports it), raised
            (interrupted), terminated (SIGTERM), killed (SIGKILL) or condemned (the whole process will end).
        moved_to: The id under which the job continues in another queue.
        moved_from: The id that the job had in the queue that it was moved from.
        function: The function's registered name.
        name: The job's label for people.
        queue: Its queue.
        user: The user that the job is attributed to.
        session: The session that the job belongs to.
        owner_team: The team that is responsible for the job.
        correlation_id: As given by the producer.
        group: The group it belongs to in its queue.
        unique: The unique key of the job, while it is known.
        tags: As given by the producer.
        metadata: As given by the producer.
    """

    id: str
    status: JobStatus
    result: T_co | None = field(default=None, repr=False)
    error: str | None = None
    error_type: ErrorType | None = None
    error_class: str | None = None
    traceback: str | None = None
    progress: float = 0.0
    progress_message: str = ""
    progress_details: Mapping[str, object] | None = None
    enqueued_at: datetime | None = None
    scheduled_at: datetime | None = None
    parked_since: datetime | None = None
    wait: JobWait | None = None
    callback: str | None = None
    callback_of: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration: timedelta | None = None
    retry_count: int = 0
    attempt: int = 0
    runs: int = 0
    fence: int | None = None
    worker: str | None = None
    cancel_requested_by: str | None = None
    cancel_requested_at: datetime | None = None
    stop_stage: str | None = None
    moved_to: str | None = None
    moved_from: str | None = None
    function: str = ""
    name: str = ""
    queue: str = ""
    user: str | None = None
    session: str | None = None
    owner_team: str | None = None
    correlation_id: str | None = None
    unique: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Set the progress of a completed job."""
        if self.status is JobStatus.COMPLETED and self.progress != 1.0:
            object.__setattr__(self, "progress", 1.0)

    @property
    def state(self) -> JobStatus | ShownState:
        """The state that lists show: the status, or why a waiting job is not due."""
        if self.parked_since and self.status.is_waiting:
            return ShownState.PARKED
        if self.wait is None:
            return self.status
        return ShownState.AWAITING if self.wait.signal else ShownState.SLEEPING

    @property
    def is_aside(self) -> bool:
        """Whether it is a callback that may never run, or an undo: lists show it with its job."""
        return self.callback is not None and (self.callback == "undo" or self.status in ASIDE)

    @property
    def is_unneeded(self) -> bool:
        """Whether it is a callback that was cancelled because its job ended otherwise."""
        by = self.cancel_requested_by or PARENT
        return self.is_aside and self.status is JobStatus.CANCELLED and by.startswith(PARENT)

    @property
    def error_text(self) -> str:
        """The last error as its class and its message, such as ``ConnectionError: refused``; empty without an error."""
        error, kind = self.error or "", self.error_class or ""
        if not kind or error.startswith(kind):
            return error
        return f"{kind}: {error}" if error else kind


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's own log.

    Attributes:
        at: The time by the worker's clock.
        level: The level's name, such as ``INFO`` or ``WARNING``.
        text: The message, with its traceback; it may have several lines.
        token: The fencing token of the run that logged it.
    """

    at: datetime
    level: str
    text: str
    token: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a job's output stream.

    Attributes:
        value: What the job has emitted.
        position: Where the stream continues after this chunk: give it as `after` to another read.
        epoch: The fencing token of the run that has emitted it. It grows with each run.
        number: Its number among the chunks of that run, from 1.
        is_restart: Whether a later run begins here: the chunks before it are of an earlier run, which failed, died
            or waited.
        dropped: The number of chunks before this one that the stream did not keep long enough for this reader, or that
            a failover has lost.
    """

    value: Any
    position: str
    epoch: int
    number: int
    is_restart: bool = False
    dropped: int = 0


WORST_FIRST = ("failed", "expired", "cancelled", "gone", "", "completed")
"""The states of parents in the order in which they are shown; an open one is where the empty text is."""


class Parent(NamedTuple):
    """A job that another job waits for.

    Attributes:
        id: The id of the parent.
        status: Its status, or ``gone`` if nothing is known of it any more. Of many parents, 50 are looked at, those
            first that are not known to have completed; of another one it is empty unless its end is known.
        name: Its label; empty if it was not looked at.
        error: Its last error, as `JobResult.error_text`; None without one.
    """

    id: str
    status: str
    name: str = ""
    error: str | None = None

    @property
    def place(self) -> int:
        """Its place where parents are shown: those that ended and did not complete, the open ones, the others."""
        return WORST_FIRST.index(self.status) if self.status in WORST_FIRST else WORST_FIRST.index("")


@dataclass(frozen=True, kw_only=True)
class JobDetails(Generic[T_co]):
    """Everything that is known about a job.

    Redis keeps the arguments and the options of a job until it ends; of a dead letter, until it is purged.

    Attributes:
        job: Its state, as `poll` returns it.
        priority: Its priority; None if it has ended and is not a dead letter.
        args: The positional arguments; None if they are not stored any more, or cannot be read.
        kwargs: The named arguments; None likewise.
        unknown_zones: Time zones of the arguments that this machine does not know; such times keep only their offset.
        options: The options of the job itself, by the names that `Job` has; durations are timedeltas. The options of
            its function are not among them.
        max_retries: The number of retries after failed runs that applies to it; None if it has ended, or if only
            `retry_for` bounds the number.
        retry_for: The time from its first due time after which no retry is due; None if it has ended, or for no bound.
        crashes: Runs whose process died while the job was alone in it; they use no retry. Of a job that only the
            archive has, all runs whose process died.
        max_crashes: The number of such runs at which it fails; None if it has ended and is not a dead letter.
        expires_at: The time at which it expires if it has not started; None for no expiry.
        parents: The jobs that it waits for or has waited for, in the order of `depends_on`.
        root_cause: Of a job that was cancelled because a parent ended otherwise than it needed: the job with which that
            began, such as the one that failed. Its status is the present one: it may have been replayed. None for any
            other job.
        callbacks: The ids of its callbacks, by ``on_success`` and ``on_failure``.
        schema_version: The version of its arguments, as its producer knew it.
        function_version: The version that its function takes, as workers have published it; None if they have not.
        callback: ``on_success`` or ``on_failure`` if it is a callback of its parent; None if it is none.
        flow: The id of its flow; None if it is in none, or if it has completed and had only one run.
        history: The lines from which `life` is read. A line has a first word (for a run its number, and where they are
            known its start and its worker: ``2/1764712345000000/box:11:aa.2``), the time in µs since 1970, and a text.
            Redis keeps the last ten about runs, parking and replays, and the last ten about edits, signals and requests
            to cancel; an archive has the older ones. Empty for a job that completed in its first run, if nothing was
            done to it.
    """

    job: JobResult[T_co]
    priority: Priority | None = None
    args: tuple[Any, ...] | None = None
    kwargs: Mapping[str, Any] | None = None
    unknown_zones: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    max_retries: int | None = None
    retry_for: timedelta | None = None
    crashes: int = 0
    max_crashes: int | None = None
    expires_at: datetime | None = None
    parents: tuple[Parent, ...] = ()
    root_cause: Parent | None = None
    callbacks: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1
    function_version: int | None = None
    callback: str | None = None
    flow: str | None = None
    history: tuple[str, ...] = ()

    @property
    def life(self) -> tuple[LifeEvent, ...]:
        """What happened to the job, oldest first: past runs, and who replayed, edited, signalled or cancelled it."""
        return tuple(map(event_of, self.history))


Fact = int | float | str | datetime | Sequence[str] | None


class ReasonCode(StrEnum):
    """The code of a reason, for programs."""

    UNKNOWN = "unknown"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MOVED = "moved"
    EXPIRED = "expired"
    UNDOING = "undoing"
    FLOW_STOPPED = "flow-stopped"
    LOCK = "lock"
    RUNNING = "running"
    BLOCKING = "blocking"
    CANCELLING = "cancelling"
    WORKER_GONE = "worker-gone"
    LEASE_EXPIRED = "lease-expired"
    BLOCKED = "blocked"
    SEQUENCE = "sequence"
    SCHEDULED = "scheduled"
    SLEEPING = "sleeping"
    AWAITING_SIGNAL = "awaiting-signal"
    RETRYING = "retrying"
    SUSPECT = "suspect"
    PARKED = "parked"
    PAUSED = "paused"
    PAUSED_FUNCTION = "paused-function"
    GROUP_PAUSED = "group-paused"
    GROUP_FULL = "group-full"
    GROUP_RATE = "group-rate"
    QUEUE_FULL = "queue-full"
    QUEUE_RATE = "queue-rate"
    GATE_UNREADABLE = "gate-unreadable"
    LIMIT_CLOSED = "limit-closed"
    LIMIT_FULL = "limit-full"
    LIMIT_RATE = "limit-rate"
    BREAKER_OPEN = "breaker-open"
    UNKNOWN_FUNCTION = "unknown-function"
    NEWER_SCHEMA = "newer-schema"
    ELSEWHERE = "elsewhere"
    UNSERVED = "unserved"
    QUIET = "quiet"
    HUNG = "hung"
    BUSY = "busy"
    BEHIND = "behind"
    NEXT = "next"
    EXPIRING = "expiring"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a job's state.

    Attributes:
        code: Its code.
        text: One line for people, with numbers and a remedy.
        facts: The numbers and names in the text; durations are in seconds.
    """

    code: ReasonCode
    text: str
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job is in its state.

    Attributes:
        id: The job's id.
        status: Its state; None if the job is unknown.
        function: The registered name of its function.
        queue: Its queue.
        at: The time of the explanation, by Redis's clock.
        reasons: The reasons; those that block the job come first.
        details: The job in full; None if the job is unknown.
    """

    id: str
    status: JobStatus | None
    reasons: tuple[Reason, ...]
    function: str = ""
    queue: str = ""
    at: datetime | None = None
    details: JobDetails[Any] | None = None

    def __str__(self) -> str:
        return "\n".join(reason.text for reason in self.reasons)
