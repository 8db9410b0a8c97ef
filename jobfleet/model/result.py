"""What is known of a job, and what enqueueing one answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

from jobfleet.errors import JobfleetError
from jobfleet.model.status import ErrorType, JobStatus

T = TypeVar("T")


class Receipt(NamedTuple):
    """The answer to one enqueue.

    Attributes:
        id: The job's id; with a unique key that is held, its holder's; of a refused item, its suffix alone.
        created: False when the job was there already, or another holds its unique key.
        status: QUEUED or SCHEDULED (or BLOCKED), as enqueued; of the holder of a unique key where it stands, and
            COMPLETED too if it has ended and been forgotten.
        durability: The level that was reached: ``fast``, ``replicated`` or ``fsync``.
        error: Why this item was refused; only `enqueue_many` answers it, single calls raise it.
    """

    id: str
    created: bool
    status: JobStatus
    durability: str = "fast"
    error: JobfleetError | None = None


@dataclass(frozen=True, kw_only=True)  # no slots: CPython 3.11 could not call JobResult[int]
class JobResult(Generic[T]):
    """Everything known of a job at one moment.

    Attributes:
        id: The job's id.
        status: Where it stands.
        result: What the function returned; None unless COMPLETED.
        error: The last error's message.
        error_type: Whether that error was TRANSIENT or PERMANENT.
        error_class: Name of the exception's class, or the reason (``crashed``, ``expired-lease``).
        traceback: The last error's traceback, its tail kept.
        progress: 0.0 to 1.0.
        progress_message: The last message reported with it.
        progress_details: The last details reported with it.
        enqueued_at: When the producer made the job, by its clock.
        scheduled_at: When it is due, while it waits.
        started_at: When its last run started.
        completed_at: When it ended, whatever the ending.
        duration: The last run's time.
        retry_count: How many times it was run again on a budget: after failures and crashes.
        attempt: Which run this is or was; 0 before the first.
        fence: The token of that run; it grows with every claim of the job.
        worker: The child that ran it last.
        cancel_requested_by: Who asked a running job to stop.
        cancel_requested_at: When that was.
        stop_stage: How far its stopping has come, or had when it ended: requested, asked (its context says so),
            raised (interrupted), terminated (SIGTERM), killed (SIGKILL), condemned (its whole process is to end).
        moved_to: The id under which the job goes on in another queue.
        moved_from: The id it had in the queue it comes from.
        function: The function's name on the wire.
        name: The job's label.
        queue: Its queue.
        user: Whom it is attributed to.
        session: The session it belongs to.
        correlation_id: As given by the producer.
        group: The group it belongs to in its queue.
        unique: The unique key it was enqueued with, while that is known.
        tags: As given by the producer.
        metadata: As given by the producer.
    """

    id: str
    status: JobStatus
    result: T | None = None
    error: str | None = None
    error_type: ErrorType | None = None
    error_class: str | None = None
    traceback: str | None = None
    progress: float = 0.0
    progress_message: str = ""
    progress_details: Mapping[str, object] | None = None
    enqueued_at: datetime | None = None
    scheduled_at: datetime | None = None
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
