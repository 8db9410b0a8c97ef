"""The decision that follows from an outcome, and the rules for retries of a job. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobfleet.clock import SECOND_US, to_us
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError, SignalTimeout
from jobfleet.model import ErrorType
from jobfleet.model.life import HANDED_BACK, LEASE_EXPIRED
from jobfleet.model.option_checks import COUNT_MAX
from jobfleet.model.signals import Discard, ForeignError, RetryAfter, Snooze
from jobfleet.outcome import (
    Broken,
    Cancelled,
    Crashed,
    Interrupted,
    KnownElsewhere,
    LeaseLost,
    Outcome,
    OutOfCpu,
    OutOfMemory,
    Overdue,
    Preempted,
    Raised,
    Refused,
    Succeeded,
    TimedOut,
    Unrunnable,
    Waiting,
    Witnessed,
)
from jobfleet.retry.tries import Begun, Tries

# The decision that follows from an outcome; only this module spends retry budgets. Pure.


PARK_DELAY_US = 10 * SECOND_US
PARK_FIRST_US = SECOND_US // 4
"""The first delay is short, as a worker that knows the function may start soon. Each delay doubles the time so far."""


@dataclass(slots=True)  # not frozen: each completed job creates one, and a frozen one takes twice as long
class Complete:
    """running → completed."""

    value: object


@dataclass(frozen=True, slots=True)
class Retry:
    """running → retrying, counted."""

    delay_us: int
    tries: Tries


@dataclass(frozen=True, slots=True)
class Fail:
    """running → failed."""

    reason: str
    error_type: ErrorType
    tries: Tries


@dataclass(frozen=True, slots=True)
class Release:
    """running → queued or waiting for a time; nothing is counted. `tries` is None if it does not change."""

    delay_us: int = 0
    tries: Tries | None = None


@dataclass(frozen=True, slots=True)
class Suspend:
    """running → scheduled until a time or a signal; nothing is counted."""

    key: str
    name: str
    delay_us: int


@dataclass(frozen=True, slots=True)
class Park:
    """running → retrying until a worker can run the job; nothing is counted."""

    delay_us: int
    tries: Tries


@dataclass(frozen=True, slots=True)
class PutBack:
    """running → queued at its old position; the job did not start. `tries` is None if it does not change."""

    function: str
    tries: Tries | None = None


@dataclass(frozen=True, slots=True)
class Expire:
    """running → expired."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Write nothing, because another run owns the job."""


Decision = Complete | Retry | Fail | Release | Suspend | Park | PutBack | Expire | Drop


@dataclass(frozen=True, slots=True)
class _Case:
    """A run whose outcome is weighed."""

    policy: Policy
    tries: Tries
    now_us: int
    due_us: int
    begun: Begun | None
    uniform: Uniform

    def noted(self, event: str) -> Tries:
        """What is spent, with the line of this run."""
        return self.tries.noting(self.now_us, event, self.begun)

    def first_due(self) -> int:
        """The time from which `retry_for` counts; 0 if the job has no `retry_for`."""
        return 0 if self.policy.retry_for is None else self.tries.first_due or self.due_us or self.now_us

    def is_too_late(self, delay_us: int) -> bool:
        """Whether a retry after this delay would be due after `retry_for` has passed."""
        bound = self.policy.retry_for
        return bound is not None and self.now_us + delay_us > self.first_due() + to_us(bound)


def decide(
    outcome: Outcome,
    policy: Policy,
    tries: Tries,
    now_us: int,
    *,
    due_us: int = 0,
    begun: Begun | None = None,
    uniform: Uniform = random.uniform,
) -> Decision:
    """Decide what happens to a job after a run.

    Args:
        outcome: The way in which the run ended.
        policy: The rules for retries of the job.
        tries: What the job has spent of its budgets.
        now_us: Redis's time in µs, for the history and for `retry_for`.
        due_us: The due time of the run in µs; 0 if it is not known.
        begun: When and where the job's code began, for the history; None if it is not known to have begun. Then a run
            that is handed back is not in the history.
        uniform: The source of jitter.
    """
    case = _Case(policy, tries, now_us, due_us, begun, uniform)
    match outcome:
        case Succeeded(value):
            return Complete(value)
        case Raised(error):
            return _raised(error, case)
        case TimedOut(limit):
            return _timed_out(f"timed out after {limit:g} s", case)
        case Crashed() | Witnessed() | OutOfMemory():
            return _died(outcome, case)
        case OutOfCpu(limit):
            return _timed_out(f"used more than {limit:g} s of CPU", case)
        case Preempted():
            spent = replace(case.noted(LEASE_EXPIRED), preemptions=tries.preemptions + 1)
            return Retry(0, spent)
        case Unrunnable() | KnownElsewhere() | Refused():
            return _unrunnable(outcome, policy, tries, now_us)
        case Broken(reason, failed_as):
            return Fail(failed_as, ErrorType.PERMANENT, case.noted(reason))
        case Waiting(key, name, delay):
            return Suspend(key, name, to_us(delay))
        case Interrupted() | Cancelled():
            is_noted = begun is not None and isinstance(outcome, Interrupted)
            # If the job has a cancellation mark, the script cancels it instead.
            return Release(0, case.noted(HANDED_BACK) if is_noted else None)
        case Overdue() | LeaseLost():
            return Expire() if isinstance(outcome, Overdue) else Drop()


def _raised(error: BaseException, case: _Case) -> Decision:
    what = describe(error)
    if isinstance(error, ForeignError) and error.steers is not None:
        error = error.steers
    if isinstance(error, Snooze):
        return Release(to_us(error.delay))
    if isinstance(error, Discard):
        return Fail("discarded", ErrorType.PERMANENT, case.noted(what))
    kind = ErrorType.TRANSIENT if isinstance(error, RetryAfter) else classify(error, case.policy)
    return _failure(kind, "error", what, error, case)


def _timed_out(what: str, case: _Case) -> Decision:
    error = TimeoutError(what)
    return _failure(classify(error, case.policy), "timeout", what, error, case)


def _failure(kind: ErrorType, reason: str, what: str, error: BaseException, case: _Case) -> Decision:
    tries, policy = case.tries, case.policy
    spent = replace(
        case.noted(what), failures=tries.failures + 1, parked_since=0, deaths=0, suspects=0,
        first_due=case.first_due(),
    )  # fmt: skip
    if kind is ErrorType.PERMANENT or tries.failures >= policy.max_retries or case.is_too_late(0):
        return Fail(reason, kind, spent)
    if isinstance(error, RetryAfter):
        delay_us = to_us(error.delay)
    else:
        delay_us = delay_after_us(policy, tries.failures, error, uniform=case.uniform)
    return Fail(reason, kind, spent) if case.is_too_late(delay_us) else Retry(delay_us, spent)


def _died(outcome: Crashed | Witnessed | OutOfMemory, case: _Case) -> Decision:
    tries, policy = case.tries, case.policy
    noted = case.noted(outcome.reason)
    if isinstance(outcome, Witnessed):
        return Release(0, replace(noted, deaths=tries.deaths + 1, suspects=outcome.suspects))
    crashes = tries.crashes + 1
    spent = replace(noted, crashes=crashes, first_due=case.first_due())
    delay_us = 0 if tries.crashes == 0 else backoff_us(policy, tries.crashes - 1, uniform=case.uniform)
    if crashes >= policy.max_crashes or case.is_too_late(delay_us):
        return Fail("oom" if isinstance(outcome, OutOfMemory) else outcome.failed_as, ErrorType.TRANSIENT, spent)
    # It counts like any other death: the first may have an outside cause; after the second, the job runs alone.
    return Retry(delay_us, replace(spent, deaths=tries.deaths + 1, suspects=1))


def _unrunnable(outcome: Unrunnable | KnownElsewhere | Refused, policy: Policy, tries: Tries, now_us: int) -> Decision:
    if isinstance(outcome, Refused):
        return Release(outcome.delay_us) if outcome.delay_us else PutBack(outcome.function)
    if isinstance(outcome, KnownElsewhere):
        return PutBack(outcome.function, replace(tries, parked_since=0) if tries.parked_since else None)
    reason, since = outcome.reason, tries.parked_since or now_us
    if outcome.may_fail and now_us - since >= to_us(policy.unknown_grace):
        return Fail(outcome.failed_as, ErrorType.PERMANENT, tries.parking(now_us, reason))
    noted = tries if tries.parked_since else tries.parking(now_us, reason)
    waited = now_us - since
    delay = min(PARK_DELAY_US, max(PARK_FIRST_US, waited), max(to_us(policy.unknown_grace) - waited, 0) + 1000)
    return Park(delay, replace(noted, parked_since=since))


def describe(error: BaseException) -> str:
    """Describe an error in one line, even if its own text cannot be read."""
    if isinstance(error, ForeignError):
        return error.summary
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - the user's __str__ may raise anything
        text = "(its text cannot be read)"
    name = type(error).__name__
    line = f"{name}: {text}" if text else name
    return line.encode("utf-8", "replace").decode()  # a lone surrogate cannot be stored


PERMANENT_TYPES: tuple[type[BaseException], ...] = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ImportError,
    NotImplementedError,
    AssertionError,
    PermissionError,
    FileNotFoundError,
    EncodingError,
    SignalTimeout,
)


Uniform = Callable[[float, float], float]
DelayOf = Callable[[int, BaseException], float | None]
"""Returns the seconds before a retry, from the number of the retry and the error; None for the default delay."""
UNBOUNDED = COUNT_MAX
"""The maximum number of retries of a job that only `retry_for` bounds."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for retries of a job: which errors are retried, how often, for how long, and after which delay.

    The delay before retry number n is ``retry_delay · retry_backoff ** n``, up to a maximum. Jitter takes 50 to 100 %
    of it ("equal jitter", M. Brooker, AWS Architecture Blog, 2015). A list and a function give the delays as they are.

    Attributes:
        max_retries: Maximum number of retries after failed runs.
        retry_delay: Seconds before the first retry.
        retry_backoff: Factor from one delay to the next.
        retry_delay_max: Maximum delay in seconds.
        retry_jitter: Whether to take a random 50 to 100 % of the delay.
        retry_delays: The delays in seconds, if they are a list. The last one repeats.
        retry_for: Seconds from the first due time after which no retry is due; None for no bound.
        delay_of: The function that returns the delay after an error; None if there is none.
        jitters_own_delays: Whether to take a random share also of a delay of the list or of the function.
        counts_retries: Whether the job or its function sets `max_retries`.
        max_crashes: Number of crashes while alone in a process after which the job fails.
        unknown_grace: Seconds for which a job stays parked before it fails.
        retry_on: Exceptions that are TRANSIENT, whatever the default.
        discard_on: Exceptions that are PERMANENT, whatever the default.
    """

    max_retries: int = 3
    retry_delay: float = 5.0
    retry_backoff: float = 2.0
    retry_delay_max: float = 3600.0
    retry_jitter: bool = True
    retry_delays: tuple[float, ...] = ()
    retry_for: float | None = None
    delay_of: DelayOf | None = None
    jitters_own_delays: bool = False
    counts_retries: bool = False
    max_crashes: int = 3
    unknown_grace: float = 3600.0
    retry_on: tuple[type[BaseException], ...] = ()
    discard_on: tuple[type[BaseException], ...] = ()

    @property
    def most_retries(self) -> int | None:
        """The maximum number of retries; None if only `retry_for` bounds it."""
        return None if self.retry_for is not None and self.max_retries == UNBOUNDED else self.max_retries


def classify(error: BaseException, policy: Policy) -> ErrorType:
    """Decide whether a retry may succeed, by the function's own lists first, then by the default table."""
    if isinstance(error, ForeignError):
        return error.error_type
    if isinstance(error, policy.discard_on):
        return ErrorType.PERMANENT
    if isinstance(error, policy.retry_on):
        return ErrorType.TRANSIENT
    return ErrorType.PERMANENT if isinstance(error, PERMANENT_TYPES) else ErrorType.TRANSIENT


def backoff_us(policy: Policy, repeated: int, *, uniform: Uniform = random.uniform) -> int:
    """Return the delay before the next run, in µs, after `repeated` earlier retries."""
    if policy.retry_delays:
        return own_delay_us(policy, policy.retry_delays[min(repeated, len(policy.retry_delays) - 1)], uniform=uniform)
    try:
        delay = policy.retry_delay * policy.retry_backoff**repeated
    except OverflowError:
        delay = policy.retry_delay_max if policy.retry_delay else 0.0
    delay = min(delay, policy.retry_delay_max)
    if policy.retry_jitter:
        delay *= uniform(0.5, 1.0)
    return to_us(delay)


def own_delay_us(policy: Policy, delay: float, *, uniform: Uniform = random.uniform) -> int:
    """Return a delay of the list or of the function in µs; only a job that asks for jitter changes it."""
    return to_us(delay * uniform(0.5, 1.0) if policy.jitters_own_delays else delay)


def delay_after_us(policy: Policy, repeated: int, error: BaseException, *, uniform: Uniform = random.uniform) -> int:
    """Return the delay before the next run, in µs, after an error.

    Args:
        policy: The rules for retries of the job.
        repeated: The number of earlier retries.
        error: The error. One of another process brings the delay of the function, which was called there.
        uniform: The source of jitter.
    """
    if policy.delay_of is not None:
        own = error.retry_delay if isinstance(error, ForeignError) else policy.delay_of(repeated + 1, error)
        if own is not None:
            return own_delay_us(policy, own, uniform=uniform)
    return backoff_us(policy, repeated, uniform=uniform)


def policy_of(
    options: Mapping[str, Any],
    config: JobConfig,
    *,
    retry_on: tuple[type[BaseException], ...] = (),
    discard_on: tuple[type[BaseException], ...] = (),
    delay_of: DelayOf | None = None,
) -> Policy:
    """Build the policy from a function's options; the fleet's settings apply to options that are not set."""

    def option(name: str) -> Any:
        value = options.get(name)
        return getattr(config, name) if value is None else value

    delay, delays = option("retry_delay"), options.get("retry_delays") or ()
    if isinstance(delay, tuple | list):
        delay, delays = config.retry_delay, delay
    retry_for, counted = options.get("retry_for"), options.get("max_retries") is not None
    return Policy(
        max_retries=UNBOUNDED if retry_for is not None and not counted else int(option("max_retries")),
        retry_delay=float(delay),
        retry_backoff=float(option("retry_backoff")),
        retry_delay_max=config.retry_delay_max,
        retry_jitter=bool(option("retry_jitter")),
        retry_delays=tuple(map(float, delays)),
        retry_for=None if retry_for is None else float(retry_for),
        delay_of=delay_of,
        jitters_own_delays=bool(options.get("retry_jitter")),
        counts_retries=counted,
        max_crashes=int(option("max_crashes")),
        unknown_grace=config.unknown_grace,
        retry_on=retry_on,
        discard_on=discard_on,
    )


def with_header(policy: Policy, header: Mapping[str, Any]) -> Policy:
    """Return the policy with the values that the job itself sets; durations on the wire are in µs."""
    given = {
        name: header[name] for name in ("max_retries", "retry_backoff", "retry_jitter", "max_crashes") if name in header
    }
    if "retry_jitter" in header:
        given["jitters_own_delays"] = header["retry_jitter"]
    if "retry_delay" in header or "retry_delays" in header:
        given["retry_delays"] = tuple(us / SECOND_US for us in header.get("retry_delays", ()))
        given["delay_of"] = None
        if "retry_delay" in header:
            given["retry_delay"] = header["retry_delay"] / SECOND_US
    if "retry_for" in header:
        given["retry_for"] = header["retry_for"] / SECOND_US
        if "max_retries" not in header and not policy.counts_retries:
            given["max_retries"] = UNBOUNDED
    return replace(policy, **given) if given else policy
