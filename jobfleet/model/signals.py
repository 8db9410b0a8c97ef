"""The exceptions by which a job chooses its own ending, and the form that errors of other processes have."""

from __future__ import annotations

from datetime import timedelta

from jobfleet.durations import seconds
from jobfleet.model.status import ErrorType


class RetryAfter(Exception):  # a signal, not an error
    """Raise it in a job to run the job again after a delay. It counts as a failure.

    Args:
        delay: Seconds or timedelta; it replaces the backoff.
        reason: A text for logs and the history.
    """

    def __init__(self, delay: float | timedelta, *, reason: str | None = None) -> None:
        self.delay: float = seconds(delay, field="RetryAfter")
        self.reason = reason
        super().__init__(reason or f"asked to be run again after {self.delay:g} s")


class Snooze(Exception):  # a signal, not an error
    """Raise it in a job to run the job again after a delay. It does not count as a failure.

    Args:
        delay: Seconds or timedelta.
    """

    def __init__(self, delay: float | timedelta) -> None:
        self.delay: float = seconds(delay, field="Snooze")
        super().__init__(f"asked to be run again after {self.delay:g} s")


class WorkerDraining(Snooze):
    """`JobContext.checkpoint` raises it while the worker of the job drains: another worker continues the job."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.args: tuple[str, ...] = ("its worker drains; another one continues the job",)


class Discard(Exception):  # a signal, not an error
    """Raise it in a job to fail the job at once, even if retries are left.

    Args:
        reason: The reason; it becomes the job's error.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ForeignError(Exception):
    """An exception of another process, as data, because its class may exist only there.

    Args:
        summary: The class and text of the exception, in one line.
        error_class: The name of its class.
        error_type: Whether a retry may succeed, by the lists of the job's function.
        traceback: Its traceback as text.
        steers: The equivalent signal, if the exception was `RetryAfter`, `Snooze` or `Discard`.
        retry_delay: The delay in seconds that the function of `retry_delay` has returned for it; None if there is none.
    """

    def __init__(
        self,
        summary: str,
        *,
        error_class: str,
        error_type: ErrorType,
        traceback: str = "",
        steers: RetryAfter | Snooze | Discard | None = None,
        retry_delay: float | None = None,
    ) -> None:
        self.summary = summary
        self.error_class = error_class
        self.error_type = error_type
        self.traceback = traceback
        self.steers = steers
        self.retry_delay = retry_delay
        super().__init__(summary)
