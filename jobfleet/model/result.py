"""What a caller learns about a job: the receipt of an enqueue, a snapshot of its state, and lines of its log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from jobfleet.errors import JobfleetError
from jobfleet.model.status import ErrorType, JobStatus

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
        started_at: When its last run started.
        completed_at: When the job ended, in any final state.
        duration: How long its last run took.
        retry_count: Retries used so far, after failures. Runs after a crash or a lost lease are not counted.
        attempt: The number of the current or last run, from 1; 0 before the first run. Runs whose end was charged to no
            budget are not counted: a job whose worker was killed runs again with the same number.
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
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration: timedelta | None = None
    retry_count: int = 0
    attempt: int = 0
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
