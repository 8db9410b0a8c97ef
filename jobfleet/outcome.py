"""The closed set of ways in which a run can end."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN_FUNCTION = "unknown-function"
"""The reason for which a job is a dead letter that no worker could run in time."""


@dataclass(slots=True)  # not frozen: each completed job creates one, and a frozen one takes twice as long
class Succeeded:
    """The function returned."""

    value: object


@dataclass(frozen=True, slots=True)
class Raised:
    """The function raised an exception, or its result cannot be encoded."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The run exceeded its time limit, in seconds."""

    limit: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Someone requested the cancellation, and the function has stopped."""

    by: str


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Another run owns the job now; nothing may be written."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker stopped before the function ended."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The job sleeps, or waits for a signal; a later run continues it.

    Attributes:
        key: The key of the wait within the job.
        name: The signal; empty if the job only sleeps.
        delay: Seconds until the wait ends, counted from its first run.
    """

    key: str
    name: str
    delay: float


@dataclass(frozen=True, slots=True)
class Overdue:
    """The job did not start before its `expires_at`."""


@dataclass(frozen=True, slots=True)
class Unrunnable:
    """This worker cannot run the job: its function is unknown, or its envelope or its arguments are newer.

    Attributes:
        reason: A text for the history.
        may_fail: Whether the job fails if it stays unrunnable too long. False if another worker may know the function.
        failed_as: The reason of such a failure.
    """

    reason: str
    may_fail: bool = True
    failed_as: str = UNKNOWN_FUNCTION


@dataclass(frozen=True, slots=True)
class KnownElsewhere:
    """This worker does not know the function, but another live worker does."""

    function: str
    worker: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A named limit or a circuit breaker has no room for the run, so its code did not start.

    Attributes:
        function: The function.
        delay_us: How long the job waits; 0 to keep its position while its children leave its function to others.
    """

    function: str
    delay_us: int = 0


@dataclass(frozen=True, slots=True)
class Broken:
    """The envelope has a wrong signature, or the arguments cannot be decoded or upcast. No worker with this code can
    run the job.

    Attributes:
        reason: A text for the history.
        failed_as: The reason of the failure.
    """

    reason: str
    failed_as: str = "unreadable"


@dataclass(frozen=True, slots=True)
class Crashed:
    """The job's process died while only this job ran in it.

    Attributes:
        reason: The signal or exit code, or that the worker is gone.
        failed_as: The error class of the job if this crash exceeds its limit.
    """

    reason: str
    failed_as: str = "crashed"


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A process died while several jobs ran in it, or a whole worker is gone. The job may not be the cause.

    Attributes:
        reason: The observed death, and the number of other jobs in the process.
        suspects: The number of jobs that may have caused the death, this one included.
    """

    reason: str
    suspects: int


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The job's own process ran out of memory.

    Attributes:
        reason: The limit that it hit: its own memory limit, or the kernel's.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class OutOfCpu:
    """The job's own process exceeded its CPU limit, in seconds."""

    limit: float


@dataclass(frozen=True, slots=True)
class Preempted:
    """The lease expired although its worker is alive."""


Outcome = (
    Succeeded
    | Raised
    | TimedOut
    | Cancelled
    | LeaseLost
    | Interrupted
    | Waiting
    | Overdue
    | Unrunnable
    | KnownElsewhere
    | Refused
    | Broken
    | Crashed
    | Witnessed
    | OutOfMemory
    | OutOfCpu
    | Preempted
)
