"""The decision that follows from an outcome; only this module spends retry budgets. Pure.

The delay before retry number n is ``retry_delay · retry_backoff ** n``, up to a maximum. Jitter takes 50 to 100 % of
it ("equal jitter", M. Brooker, AWS Architecture Blog, 2015).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobfleet.clock import SECOND_US, to_us
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError
from jobfleet.model import ErrorType
from jobfleet.outcome import (
    Broken,
    Cancelled,
    Crashed,
    Discard,
    ForeignError,
    Interrupted,
    KnownElsewhere,
    LeaseLost,
    Outcome,
    OutOfCpu,
    OutOfMemory,
    Overdue,
    Preempted,
    Raised,
    RetryAfter,
    Snooze,
    Succeeded,
    TimedOut,
    Unrunnable,
    Witnessed,
)
from jobfleet.suspicion import Suspicion

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
)
HISTORY_RUNS = 10
HISTORY_CHARACTERS = 300
PARK_DELAY_US = 10 * SECOND_US
PARK_FIRST_US = SECOND_US // 4
"""The first delay is short, as a worker that knows the function may start soon. Each delay doubles the time so far."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for retries of a job.

    Attributes:
        max_retries: Maximum number of retries after failed runs.
        retry_delay: Seconds before the first retry.
        retry_backoff: Factor from one delay to the next.
        retry_delay_max: Maximum delay in seconds.
        retry_jitter: Whether to take a random 50 to 100 % of the delay.
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
    max_crashes: int = 3
    unknown_grace: float = 3600.0
    retry_on: tuple[type[BaseException], ...] = ()
    discard_on: tuple[type[BaseException], ...] = ()


@dataclass(frozen=True, slots=True)
class Tries:
    """What a job has spent of its budgets, as stored with the job.

    Attributes:
        failures: Number of failed runs.
        crashes: Number of runs whose process died while the job was alone in it.
        preemptions: Number of runs whose lease expired although the worker was alive.
        parked_since: Time at which the job was first parked, in µs of Redis's clock; 0 if it is not parked.
        deaths: Number of processes that died while the job ran in them, without evidence of the cause.
        suspects: Number of jobs that may have caused the last of these deaths, this one included; 0 if unknown.
        history: One line per past run, oldest first.
    """

    failures: int = 0
    crashes: int = 0
    preemptions: int = 0
    parked_since: int = 0
    deaths: int = 0
    suspects: int = 0
    history: tuple[str, ...] = ()

    @property
    def attempt(self) -> int:
        """The number of the next run, from 1."""
        return self.failures + self.crashes + self.preemptions + 1

    @property
    def suspicion(self) -> Suspicion:
        """The evidence from the deaths that the job has witnessed."""
        return Suspicion(self.deaths, self.suspects)

    @property
    def last_error(self) -> str | None:
        """The ending of the last run in the history; None if there is none, or if the job was replayed since."""
        if not self.history or self.history[-1].startswith("replayed "):
            return None
        return self.history[-1].split(" ", 2)[-1]

    @classmethod
    def parse(cls, text: str) -> Tries:
        """Parse the output of `dump`; an empty text means that nothing is spent."""
        if not text:
            return FRESH
        head, _, rest = text.partition("\n")
        spent = [int(part) for part in head.split(":")[:6]]
        failures, crashes, preemptions, parked, deaths = spent[:5]
        suspects = spent[5] if len(spent) > 5 else 0  # older workers do not write it
        return cls(failures, crashes, preemptions, parked, deaths, suspects, tuple(rest.split("\n")) if rest else ())

    def dump(self) -> str:
        """Serialize to one text; empty if nothing is spent."""
        if self == FRESH:
            return ""
        head = f"{self.failures}:{self.crashes}:{self.preemptions}:{self.parked_since}:{self.deaths}"
        if self.suspects:
            head += f":{self.suspects}"
        return "\n".join((head, *self.history))

    def noting(self, now_us: int, event: str) -> Tries:
        """Return a copy with one more line of history; the oldest lines are dropped."""
        line = f"{self.attempt} {now_us} {' '.join(event.split())}"[:HISTORY_CHARACTERS]
        return replace(self, history=(*self.history, line)[-HISTORY_RUNS:])


FRESH = Tries()


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


Decision = Complete | Retry | Fail | Release | Park | PutBack | Expire | Drop
Uniform = Callable[[float, float], float]


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
    try:
        delay = policy.retry_delay * policy.retry_backoff**repeated
    except OverflowError:
        delay = policy.retry_delay_max if policy.retry_delay else 0.0
    delay = min(delay, policy.retry_delay_max)
    if policy.retry_jitter:
        delay *= uniform(0.5, 1.0)
    return to_us(delay)


def decide(
    outcome: Outcome, policy: Policy, tries: Tries, now_us: int, *, uniform: Uniform = random.uniform
) -> Decision:
    """Decide what happens to a job after a run.

    Args:
        outcome: The way in which the run ended.
        policy: The rules for retries of the job.
        tries: What the job has spent of its budgets.
        now_us: Redis's time in µs, for the history.
        uniform: The source of jitter.
    """
    match outcome:
        case Succeeded(value):
            return Complete(value)
        case Raised(error):
            return _raised(error, policy, tries, now_us, uniform)
        case TimedOut(limit):
            what = f"timed out after {limit:g} s"
            return _failure(classify(TimeoutError(), policy), "timeout", what, policy, tries, now_us, uniform)
        case Crashed() | Witnessed() | OutOfMemory():
            return _died(outcome, policy, tries, now_us, uniform)
        case OutOfCpu(limit):
            what = f"used more than {limit:g} s of CPU"
            return _failure(classify(TimeoutError(), policy), "timeout", what, policy, tries, now_us, uniform)
        case Preempted():
            spent = replace(tries.noting(now_us, "lease expired"), preemptions=tries.preemptions + 1)
            return Retry(0, spent)
        case Unrunnable() | KnownElsewhere():
            return _unrunnable(outcome, policy, tries, now_us)
        case Broken(reason):
            return Fail("unreadable", ErrorType.PERMANENT, tries.noting(now_us, reason))
        case Overdue():
            return Expire()
        case Interrupted() | Cancelled():
            return Release()  # if the job has a cancellation mark, the script cancels it instead
        case LeaseLost():
            return Drop()


def _raised(error: BaseException, policy: Policy, tries: Tries, now_us: int, uniform: Uniform) -> Decision:
    what = describe(error)
    if isinstance(error, ForeignError) and error.steers is not None:
        error = error.steers
    if isinstance(error, Snooze):
        return Release(to_us(error.delay))
    if isinstance(error, Discard):
        return Fail("discarded", ErrorType.PERMANENT, tries.noting(now_us, what))
    if isinstance(error, RetryAfter):
        decision = _failure(ErrorType.TRANSIENT, "error", what, policy, tries, now_us, uniform)
        return replace(decision, delay_us=to_us(error.delay)) if isinstance(decision, Retry) else decision
    return _failure(classify(error, policy), "error", what, policy, tries, now_us, uniform)


def _failure(
    kind: ErrorType, reason: str, what: str, policy: Policy, tries: Tries, now_us: int, uniform: Uniform
) -> Decision:
    spent = replace(tries.noting(now_us, what), failures=tries.failures + 1, parked_since=0, deaths=0, suspects=0)
    if kind is ErrorType.PERMANENT or tries.failures >= policy.max_retries:
        return Fail(reason, kind, spent)
    return Retry(backoff_us(policy, tries.failures, uniform=uniform), spent)


def _died(
    outcome: Crashed | Witnessed | OutOfMemory, policy: Policy, tries: Tries, now_us: int, uniform: Uniform
) -> Decision:
    noted = tries.noting(now_us, outcome.reason)
    if isinstance(outcome, Witnessed):
        return Release(0, replace(noted, deaths=tries.deaths + 1, suspects=outcome.suspects))
    crashes = tries.crashes + 1
    spent = replace(noted, crashes=crashes)
    if crashes >= policy.max_crashes:
        return Fail("oom" if isinstance(outcome, OutOfMemory) else outcome.failed_as, ErrorType.TRANSIENT, spent)
    # It counts like any other death: the first may have an outside cause; after the second, the job runs alone.
    spent = replace(spent, deaths=tries.deaths + 1, suspects=1)
    return Retry(0 if tries.crashes == 0 else backoff_us(policy, tries.crashes - 1, uniform=uniform), spent)


def _unrunnable(outcome: Unrunnable | KnownElsewhere, policy: Policy, tries: Tries, now_us: int) -> Decision:
    if isinstance(outcome, KnownElsewhere):
        return PutBack(outcome.function, replace(tries, parked_since=0) if tries.parked_since else None)
    reason, since = outcome.reason, tries.parked_since or now_us
    if outcome.may_fail and now_us - since >= to_us(policy.unknown_grace):
        return Fail("unknown-function", ErrorType.PERMANENT, tries.noting(now_us, reason))
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


def policy_of(
    options: Mapping[str, Any],
    config: JobConfig,
    *,
    retry_on: tuple[type[BaseException], ...] = (),
    discard_on: tuple[type[BaseException], ...] = (),
) -> Policy:
    """Build the policy from a function's options; the fleet's settings apply to options that are not set."""

    def option(name: str) -> Any:
        value = options.get(name)
        return getattr(config, name) if value is None else value

    return Policy(
        max_retries=int(option("max_retries")),
        retry_delay=float(option("retry_delay")),
        retry_backoff=float(option("retry_backoff")),
        retry_delay_max=config.retry_delay_max,
        retry_jitter=bool(option("retry_jitter")),
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
    if "retry_delay" in header:
        given["retry_delay"] = header["retry_delay"] / SECOND_US
    return replace(policy, **given) if given else policy
