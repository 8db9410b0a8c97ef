"""How a run can end, as a closed set of values; and what a job may raise to steer its own ending."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from jobfleet.model import ErrorType, seconds


class RetryAfter(Exception):  # a signal, not an error
    """Raised by a job: run me again after so many seconds; counts as a failure.

    Args:
        delay: Seconds or timedelta, in place of the back-off.
        reason: For logs and history.
    """

    def __init__(self, delay: float | timedelta, *, reason: str | None = None) -> None:
        self.delay = seconds(delay, field="RetryAfter")
        self.reason = reason
        super().__init__(reason or f"asked to be run again after {self.delay:g} s")


class Snooze(Exception):  # a signal, not an error
    """Raised by a job: not now; run me again after so many seconds. Counts as nothing.

    Args:
        delay: Seconds or timedelta.
    """

    def __init__(self, delay: float | timedelta) -> None:
        self.delay = seconds(delay, field="Snooze")
        super().__init__(f"asked to be run again after {self.delay:g} s")


class Discard(Exception):  # a signal, not an error
    """Raised by a job: fail me now, whatever my budget.

    Args:
        reason: Why; it becomes the job's error.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ForeignError(Exception):
    """What a job raised in a process of its own, told as data: its class exists there alone.

    Args:
        told: Its class and text, in one line.
        error_class: The name of its class.
        error_type: Whether trying again may help, as its function's own lists say.
        traceback: Its traceback, as text.
        steers: What it stands for when it was raised to steer the ending.
    """

    def __init__(
        self,
        told: str,
        *,
        error_class: str,
        error_type: ErrorType,
        traceback: str = "",
        steers: RetryAfter | Snooze | Discard | None = None,
    ) -> None:
        self.told = told
        self.error_class = error_class
        self.error_type = error_type
        self.traceback = traceback
        self.steers = steers
        super().__init__(told)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The function returned."""

    value: object


@dataclass(frozen=True, slots=True)
class Raised:
    """The function raised, or its result cannot travel."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The run exceeded its time limit, in seconds."""

    limit: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked for it, and the function has stopped."""

    by: str


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Another run owns the job by now; nothing may be written."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker stops before the function did."""


@dataclass(frozen=True, slots=True)
class RunSettler:
    """The job came past its `expires_at` before it started."""


@dataclass(frozen=True, slots=True)
class Unrunnable:
    """This worker cannot run it: unknown function, or an envelope newer than the worker.

    Attributes:
        reason: Why.
        may_fail: Whether the job fails when that has been so for too long; not where another worker may know better.
    """

    reason: str
    may_fail: bool = True


@dataclass(frozen=True, slots=True)
class KnownElsewhere:
    """This worker does not know the function, and a live one does."""

    function: str
    worker: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The envelope cannot be read; no worker will ever run it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The process in which it ran, and nothing else did, has died.

    Attributes:
        reason: Signal or exit code, or that its worker is gone.
        failed_as: What a job is said to have failed with, when this is the crash too many.
    """

    reason: str
    failed_as: str = "crashed"


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A process has died in which it ran beside others, or its whole worker is gone: it need not be its doing.

    Attributes:
        reason: What was seen, and how many others were there.
        suspects: How many jobs it may be due to, this one included.
    """

    reason: str
    suspects: int


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The process it had for itself ran out of memory.

    Attributes:
        reason: What bounded it: its own limit, or the kernel.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class OutOfCpu:
    """The process it had for itself used more CPU than it may, in seconds."""

    limit: float


@dataclass(frozen=True, slots=True)
class Preempted:
    """Its lease expired although its worker is there."""


Outcome = (
    Succeeded
    | Raised
    | TimedOut
    | Cancelled
    | LeaseLost
    | Interrupted
    | RunSettler
    | Unrunnable
    | KnownElsewhere
    | Broken
    | Crashed
    | Witnessed
    | OutOfMemory
    | OutOfCpu
    | Preempted
)
