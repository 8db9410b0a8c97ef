"""The rules for retries of a job: which errors are retried, how often, for how long, and after which delay. Pure.

The delay before retry number n is ``retry_delay · retry_backoff ** n``, up to a maximum. Jitter takes 50 to 100 % of
it ("equal jitter", M. Brooker, AWS Architecture Blog, 2015). A list and a function give the delays as they are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobfleet.clock import SECOND_US, to_us
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError, SignalTimeout
from jobfleet.model import ErrorType
from jobfleet.model.options.checks import COUNT_MAX
from jobfleet.model.signals import ForeignError

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
    """The rules for retries of a job.

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
