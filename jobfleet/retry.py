"""What follows from an outcome: the one place where budgets are spent. Pure.

The delay before retry number n is ``retry_delay · retry_backoff ** n``, capped, of which jitter
takes 50 to 100 % ("equal jitter", M. Brooker, AWS Architecture Blog, 2015).
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
    Preempted,
    Raised,
    RetryAfter,
    RunSettler,
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
"""A worker that knows the job may be about to start: the first delay is short, and each one doubles the time so far."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How often, and how soon, a job is run again.

    Attributes:
        max_retries: Failed runs that are repeated.
        retry_delay: Seconds before the first repetition.
        retry_backoff: Factor of its growth.
        retry_delay_max: Seconds it grows to at most.
        retry_jitter: Take 50 to 100 % of it.
        max_crashes: Crashes suffered alone that fail the job.
        unknown_grace: Seconds a job stays parked before it is failed.
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
    """What a job has spent so far, as it is kept beside it.

    Attributes:
        failures: Runs that failed.
        crashes: Runs whose process died.
        preemptions: Runs whose lease expired under a worker that is there.
        parked_since: When it was first parked, µs of Redis's clock; 0 if it is not.
        deaths: Processes that have died while it ran in them, without evidence of whose doing it was.
        suspects: How many jobs the last of these deaths may be due to, this one included; 0 where that is unknown.
        history: One line a past run, oldest first.
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
        """The number of the run that comes next, from 1."""
        return self.failures + self.crashes + self.preemptions + 1

    @property
    def suspicion(self) -> Suspicion:
        """What the deaths that it has witnessed say of it."""
        return Suspicion(self.deaths, self.suspects)

    @property
    def last_error(self) -> str | None:
        """What the last run ended with that is in the history; None where none is, or it was replayed since."""
        if not self.history or self.history[-1].startswith("replayed "):
            return None
        return self.history[-1].split(" ", 2)[-1]

    @classmethod
    def parse(cls, text: str) -> Tries:
        """Read what `dump` wrote; empty text means nothing spent."""
        if not text:
            return FRESH
        head, _, rest = text.partition("\n")
        spent = [int(part) for part in head.split(":")[:6]]
        failures, crashes, preemptions, parked, deaths = spent[:5]
        suspects = spent[5] if len(spent) > 5 else 0  # written by workers that count them
        return cls(failures, crashes, preemptions, parked, deaths, suspects, tuple(rest.split("\n")) if rest else ())

    def dump(self) -> str:
        """Write it as one text; empty when nothing is spent."""
        if self == FRESH:
            return ""
        head = f"{self.failures}:{self.crashes}:{self.preemptions}:{self.parked_since}:{self.deaths}"
        if self.suspects:
            head += f":{self.suspects}"
        return "\n".join((head, *self.history))

    def noting(self, now_us: int, what: str) -> Tries:
        """The same with one more line of history; old lines go."""
        line = f"{self.attempt} {now_us} {' '.join(what.split())}"[:HISTORY_CHARACTERS]
        return replace(self, history=(*self.history, line)[-HISTORY_RUNS:])


FRESH = Tries()


@dataclass(frozen=True, slots=True)
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
    """running → queued or scheduled; nothing counted. `tries` is None when it stays as it is."""

    delay_us: int = 0
    tries: Tries | None = None


@dataclass(frozen=True, slots=True)
class Park:
    """running → retrying, nothing counted, until a worker can run it."""

    delay_us: int
    tries: Tries


@dataclass(frozen=True, slots=True)
class PutBack:
    """running → queued, in its place; it was not started. `tries` is None when it stays as it is."""

    function: str
    tries: Tries | None = None


@dataclass(frozen=True, slots=True)
class Expire:
    """running → expired."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Write nothing: somebody else owns the job."""


Decision = Complete | Retry | Fail | Release | Park | PutBack | Expire | Drop
Uniform = Callable[[float, float], float]


def classify(error: BaseException, policy: Policy) -> ErrorType:
    """Whether trying again may help: the function's own lists first, then the default table."""
    if isinstance(error, ForeignError):
        return error.error_type
    if isinstance(error, policy.discard_on):
        return ErrorType.PERMANENT
    if isinstance(error, policy.retry_on):
        return ErrorType.TRANSIENT
    return ErrorType.PERMANENT if isinstance(error, PERMANENT_TYPES) else ErrorType.TRANSIENT


def backoff_us(policy: Policy, repeated: int, *, uniform: Uniform = random.uniform) -> int:
    """The delay before the next run, in µs, when `repeated` runs were repeated already."""
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
    """Say what follows from the way a run ended.

    Args:
        outcome: How it ended.
        policy: What the job is allowed.
        tries: What it has spent.
        now_us: Redis's time, for the history.
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
        case RunSettler():
            return Expire()
        case Interrupted() | Cancelled():
            return Release()  # a cancelled one turns into `cancelled` where its mark stands, in the script
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
    # It is a death as any other: the first one may come from outside, and after the second one the job runs alone.
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
    """An error as one line; an error whose own text cannot be had is described all the same."""
    if isinstance(error, ForeignError):
        return error.told
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - the user's __str__ may raise anything
        text = "(its text cannot be had)"
    name = type(error).__name__
    said = f"{name}: {text}" if text else name
    return said.encode("utf-8", "replace").decode()  # a lone surrogate could not be written down


def policy_of(
    options: Mapping[str, Any],
    config: JobConfig,
    *,
    retry_on: tuple[type[BaseException], ...] = (),
    discard_on: tuple[type[BaseException], ...] = (),
) -> Policy:
    """The policy that a function's options make, with the fleet's settings where they are silent."""

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
    """The same policy with what the job itself says; durations on the wire are in µs."""
    said = {
        name: header[name] for name in ("max_retries", "retry_backoff", "retry_jitter", "max_crashes") if name in header
    }
    if "retry_delay" in header:
        said["retry_delay"] = header["retry_delay"] / SECOND_US
    return replace(policy, **said) if said else policy
