"""The exceptions by which a job chooses its own ending, errors of other processes, and the fingerprint of an error."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import timedelta
from hashlib import blake2b
from typing import TypeVar

from jobfleet.clock import seconds
from jobfleet.errors import InvalidJob
from jobfleet.model.status import ErrorType

E = TypeVar("E", bound=BaseException)


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
        self.delay: float = seconds(delay, field=type(self).__name__)
        super().__init__(f"asked to be run again after {self.delay:g} s")


class RateLimited(Snooze):
    """Raise it in a job that a service has refused: a named limit closes for all jobs, and this job is put back.

    It does not count as a failure.

    Args:
        delay: Seconds or timedelta until the service may be asked again.
        limit: The name of the limit, which the job's function must have; None for all limits of the function.

    Raises:
        InvalidJob: A value is not valid.
    """

    def __init__(self, delay: float | timedelta, *, limit: str | None = None) -> None:
        super().__init__(delay)
        if limit is not None:
            from jobfleet.model.limits import check_limit_name  # few jobs have limits

            check_limit_name(limit)
        self.limit = limit
        self.args: tuple[str, ...] = (f"the service asks to wait for {self.delay:g} s",)

    @classmethod
    def from_headers(
        cls, headers: Mapping[str, str], *, limit: str | None = None, default: float = 60.0
    ) -> RateLimited:
        """Make it from the headers of a response with status 429 or 503.

        Args:
            headers: The headers; `Retry-After` has seconds or a date. The delay is at least one second, so that jobs
                do not ask without a pause.
            limit: The name of the limit.
            default: The seconds without a valid `Retry-After`.
        """
        text = next((text for name, text in headers.items() if name.lower() == "retry-after"), "").strip()
        if text.isdecimal() and len(text) < 9:
            return cls(max(1.0, float(text)), limit=limit)
        from email.utils import parsedate_to_datetime  # few jobs need it

        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return cls(default, limit=limit)
        return cls(max(1.0, at.timestamp() - time.time()), limit=limit)


class NotWritten(Snooze):
    """What a running job writes for itself cannot be written now; the job runs again, and is not charged.

    Args:
        why: The error, as a text.
    """

    def __init__(self, why: str) -> None:
        super().__init__(1.0)
        self.args: tuple[str, ...] = (why,)


class WorkerDraining(Snooze):
    """`JobContext.checkpoint` raises it while the worker of the job drains: another worker continues the job."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.args: tuple[str, ...] = ("its worker drains; another one continues the job",)


class Suspended(BaseException):  # not an Exception: `except Exception` in a job must not swallow it
    """`JobContext.sleep` and `wait_for` raise it to end the run. The job continues in a later run.

    Args:
        key: The key of the wait within the job.
        name: The signal that the job waits for; empty if it only sleeps.
        delay: Seconds until the wait ends, counted from its first run.
    """

    def __init__(self, key: str, name: str, delay: float) -> None:
        self.key = key
        self.name = name
        self.delay = delay
        super().__init__(f"waits for the signal {name}" if name else f"sleeps for {delay:g} s")


def found_in(error: BaseException | None, kind: type[E]) -> E | None:
    """The exception of a kind, also if a task group has put it into a group of exceptions; None if there is none."""
    if isinstance(error, BaseExceptionGroup):
        found = error.subgroup(kind)
        return None if found is None else found_in(found.exceptions[0], kind)
    return error if isinstance(error, kind) else None


def suspension_of(error: BaseException | None) -> Suspended | None:
    """The wait that ends a run; None for another end."""
    return found_in(error, Suspended)


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
        is_ignored: Whether the circuit breaker of the function ignores it.
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
        is_ignored: bool = False,
    ) -> None:
        self.summary = summary
        self.error_class = error_class
        self.error_type = error_type
        self.traceback = traceback
        self.steers = steers
        self.retry_delay = retry_delay
        self.is_ignored = is_ignored
        super().__init__(summary)


# The fingerprint of an error: a hash of event, function, class, and message without its variable parts. Pure.


MESSAGE_MOST = 200
FAILED = "failed"
FINGERPRINT: re.Pattern[str] = re.compile(r"[0-9a-f]{16}")

_VARIABLE = (
    (re.compile(r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<address>"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"[^\s@'\"<>]+@[^\s@'\"<>]+\.[^\s@'\"<>]+"), "<mail>"),
    (re.compile(r"\d+(?:[.,:_-]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)


def normalise(message: str) -> str:
    """Return a message's first line with placeholders for numbers, ids and addresses."""
    text = message.strip().partition("\n")[0][: 4 * MESSAGE_MOST]
    for pattern, word in _VARIABLE:
        text = pattern.sub(word, text)
    return text.strip()[:MESSAGE_MOST]


def fingerprint_of(function: str, error_class: str, error: str, *, event: str = FAILED) -> str:
    """Return 16 hexadecimal digits that are equal for errors of the same kind.

    Args:
        function: The name of the function.
        error_class: The class of the error, or the reason of the failure.
        error: The text of the error.
        event: What happened; dead letters have ``failed``.
    """
    parts = (event, function, error_class, normalise(error))
    return blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()


def check_fingerprint(given: object) -> str:
    """Check that a value is a fingerprint.

    Raises:
        InvalidJob: It is not.
    """
    if not isinstance(given, str) or FINGERPRINT.fullmatch(given) is None:
        raise InvalidJob(
            f"fingerprint is {given!r:.100}; give the 16 digits that 'jobfleet dead groups' shows.", field="fingerprint"
        )
    return given
