"""The decision that follows from an outcome; only this module spends retry budgets. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from jobfleet.clock import SECOND_US, to_us
from jobfleet.model import ErrorType
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
from jobfleet.retry.policy import Policy, Uniform, backoff_us, classify, delay_after_us
from jobfleet.retry.tries import Tries

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
    """running → queued or scheduled; nothing is counted. `tries` is None if it does not change."""

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
    uniform: Uniform

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
    uniform: Uniform = random.uniform,
) -> Decision:
    """Decide what happens to a job after a run.

    Args:
        outcome: The way in which the run ended.
        policy: The rules for retries of the job.
        tries: What the job has spent of its budgets.
        now_us: Redis's time in µs, for the history and for `retry_for`.
        due_us: The due time of the run in µs; 0 if it is not known.
        uniform: The source of jitter.
    """
    case = _Case(policy, tries, now_us, due_us, uniform)
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
            spent = replace(tries.noting(now_us, "lease expired"), preemptions=tries.preemptions + 1)
            return Retry(0, spent)
        case Unrunnable() | KnownElsewhere() | Refused():
            return _unrunnable(outcome, policy, tries, now_us)
        case Broken(reason, failed_as):
            return Fail(failed_as, ErrorType.PERMANENT, tries.noting(now_us, reason))
        case Waiting(key, name, delay):
            return Suspend(key, name, to_us(delay))
        case Interrupted() | Cancelled():
            return Release()  # if the job has a cancellation mark, the script cancels it instead
        case Overdue() | LeaseLost():
            return Expire() if isinstance(outcome, Overdue) else Drop()


def _raised(error: BaseException, case: _Case) -> Decision:
    what = describe(error)
    if isinstance(error, ForeignError) and error.steers is not None:
        error = error.steers
    if isinstance(error, Snooze):
        return Release(to_us(error.delay))
    if isinstance(error, Discard):
        return Fail("discarded", ErrorType.PERMANENT, case.tries.noting(case.now_us, what))
    kind = ErrorType.TRANSIENT if isinstance(error, RetryAfter) else classify(error, case.policy)
    return _failure(kind, "error", what, error, case)


def _timed_out(what: str, case: _Case) -> Decision:
    error = TimeoutError(what)
    return _failure(classify(error, case.policy), "timeout", what, error, case)


def _failure(kind: ErrorType, reason: str, what: str, error: BaseException, case: _Case) -> Decision:
    tries, policy = case.tries, case.policy
    spent = replace(
        tries.noting(case.now_us, what), failures=tries.failures + 1, parked_since=0, deaths=0, suspects=0,
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
    noted = tries.noting(case.now_us, outcome.reason)
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
        return Fail(outcome.failed_as, ErrorType.PERMANENT, tries.noting(now_us, reason))
    noted = tries if tries.parked_since else tries.noting(now_us, reason)
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
