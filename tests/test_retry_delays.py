"""Delays from a list and from a function, and the bound by time: the decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobfleet import RetryAfter
from jobfleet.config import JobConfig
from jobfleet.model import ErrorType
from jobfleet.model.signals import ForeignError
from jobfleet.outcome import Crashed, Outcome, Preempted, Raised, TimedOut
from jobfleet.retry.decision import UNBOUNDED, Fail, Policy, Retry, backoff_us, decide, policy_of, with_header
from jobfleet.retry.tries import FRESH, Tries
from tests.support.each import each
from tests.test_retry import NOW, PLAIN, S

LISTED = replace(PLAIN, max_retries=9, retry_delays=(10.0, 30.0, 60.0))
BOUND = replace(PLAIN, max_retries=UNBOUNDED, retry_delay=10.0, retry_for=100.0)
CONFIG = JobConfig(retry_delay_max=3600)


def half(low: float, high: float) -> float:
    assert (low, high) == (0.5, 1.0)
    return 0.5


@each("repeated, delay", [(0, 10), (1, 30), (2, 60), (3, 60), (90, 60)])
def test_each_retry_has_its_delay_of_the_list_and_the_last_one_repeats(repeated: int, delay: int) -> None:
    assert backoff_us(LISTED, repeated) == delay * S
    decision = decide(Raised(OSError()), LISTED, Tries(repeated), NOW)
    assert isinstance(decision, Retry if repeated < 9 else Fail)
    assert not isinstance(decision, Retry) or decision.delay_us == delay * S


def test_delays_of_a_list_are_exact_unless_jitter_is_asked_for() -> None:
    above = {"retry_delay": (7200.0,)}

    assert backoff_us(policy_of(above, CONFIG), 0, uniform=half) == 7200 * S
    assert backoff_us(policy_of({**above, "retry_jitter": True}, CONFIG), 0, uniform=half) == 3600 * S
    asked = with_header(policy_of(above, CONFIG), {"retry_jitter": True})
    assert backoff_us(asked, 0, uniform=half) == 3600 * S
    refused = with_header(policy_of({**above, "retry_jitter": True}, CONFIG), {"retry_jitter": False})
    assert backoff_us(refused, 0, uniform=half) == 7200 * S


def test_the_list_of_a_published_function_is_read() -> None:
    policy = policy_of({"retry_delay": 1.0, "retry_delays": [1.0, 5.0], "retry_for": 60.0}, CONFIG)

    assert (policy.retry_delays, policy.retry_for, policy.max_retries) == ((1.0, 5.0), 60.0, UNBOUNDED)


def test_the_delay_of_a_job_replaces_the_list_and_the_function_of_its_decorator() -> None:
    made = replace(LISTED, delay_of=lambda _number, _error: 1.0)

    one = with_header(made, {"retry_delay": 7 * S})
    assert (one.retry_delay, one.retry_delays, one.delay_of) == (7.0, (), None)
    listed = with_header(made, {"retry_delay": 7 * S, "retry_delays": [7 * S, 8 * S]})
    assert (listed.retry_delays, listed.delay_of) == ((7.0, 8.0), None)


# --- a function -------------------------------------------------------------------------------------


def test_a_function_gets_the_number_of_the_retry_and_the_error() -> None:
    error, calls = OSError("busy"), []

    def delay_of(number: int, given: BaseException) -> float:
        calls.append((number, given))
        return 7.0

    decision = decide(Raised(error), replace(PLAIN, delay_of=delay_of), Tries(1), NOW)

    assert isinstance(decision, Retry)
    assert decision.delay_us == 7 * S
    assert calls == [(2, error)]


@each("outcome, tries", [(Raised(ValueError()), FRESH), (Raised(OSError()), Tries(2)), (Raised(RetryAfter(3)), FRESH),
     (Crashed("SIGKILL"), Tries(0, 1)), (Preempted(), FRESH)])  # fmt: skip
def test_a_function_is_not_called_without_a_retry_that_follows_an_error(outcome: Outcome, tries: Tries) -> None:
    def delay_of(_number: int, _error: BaseException) -> float:
        raise AssertionError("called")

    decide(outcome, replace(PLAIN, delay_of=delay_of), tries, NOW)


def test_a_function_gets_a_timeout_as_an_error() -> None:
    errors: list[BaseException] = []

    def delay_of(_number: int, error: BaseException) -> float:
        errors.append(error)
        return 1.0

    decide(TimedOut(3.0), replace(PLAIN, delay_of=delay_of), FRESH, NOW)

    assert [type(error) for error in errors] == [TimeoutError]
    assert str(errors[0]) == "timed out after 3 s"


def test_a_function_that_returns_nothing_leaves_the_default_delay() -> None:
    decision = decide(Raised(OSError()), replace(PLAIN, delay_of=lambda _number, _error: None), Tries(1), NOW)

    assert isinstance(decision, Retry)
    assert decision.delay_us == 10 * S


@pytest.mark.parametrize(("brought", "delay"), [(8.0, 8), (None, 5)])
def test_an_error_of_another_process_brings_the_delay_of_the_function(brought: float | None, delay: int) -> None:
    def delay_of(_number: int, _error: BaseException) -> float:
        raise AssertionError("called here")

    error = ForeignError("Busy: full", error_class="Busy", error_type=ErrorType.TRANSIENT, retry_delay=brought)
    decision = decide(Raised(error), replace(PLAIN, delay_of=delay_of), FRESH, NOW)

    assert isinstance(decision, Retry)
    assert decision.delay_us == delay * S


# --- a bound by time --------------------------------------------------------------------------------


@each("since, is_retried", [(0, True), (89, True), (90, True), (91, False), (100, False), (500, False)])
def test_no_retry_is_due_after_the_bound(since: int, is_retried: bool) -> None:
    policy = replace(BOUND, retry_backoff=1.0)

    first = decide(Raised(OSError()), policy, FRESH, NOW, due_us=NOW - since * S)
    later = decide(Raised(OSError()), policy, Tries(7, first_due=NOW - since * S), NOW, due_us=NOW - S)

    for decision in (first, later):
        assert isinstance(decision, Retry if is_retried else Fail)
        assert decision.tries.first_due == NOW - since * S


def test_a_run_whose_due_time_is_not_known_begins_the_time() -> None:
    decision = decide(Raised(OSError()), BOUND, FRESH, NOW)

    assert decision.tries.first_due == NOW  # type: ignore[union-attr]


@pytest.mark.parametrize(("delay", "is_retried"), [(99, True), (101, False)])
def test_retry_after_is_bound_too(delay: int, is_retried: bool) -> None:
    decision = decide(Raised(RetryAfter(delay)), BOUND, FRESH, NOW, due_us=NOW)

    assert isinstance(decision, Retry if is_retried else Fail)


@pytest.mark.parametrize(("late_us", "calls"), [(0, 1), (1, 0)])
def test_a_run_that_ends_at_the_bound_is_retried_at_once_or_not_at_all(late_us: int, calls: int) -> None:
    asked = []

    def delay_of(number: int, _error: BaseException) -> float:
        asked.append(number)
        return 0.0

    first_due = NOW - 100 * S - late_us
    decision = decide(Raised(OSError()), replace(BOUND, delay_of=delay_of), FRESH, NOW, due_us=first_due)

    assert isinstance(decision, Retry if calls else Fail)
    assert len(asked) == calls


def test_after_the_bound_a_crash_fails_the_job() -> None:
    policy = replace(BOUND, max_crashes=9)

    early = decide(Crashed("SIGKILL"), policy, FRESH, NOW, due_us=NOW - 100 * S)
    late = decide(Crashed("SIGKILL"), policy, FRESH, NOW, due_us=NOW - 101 * S)

    assert isinstance(early, Retry)
    assert isinstance(late, Fail)
    assert (early.tries.first_due, late.reason) == (NOW - 100 * S, "crashed")


def test_a_lost_lease_is_not_bound() -> None:
    assert isinstance(decide(Preempted(), BOUND, Tries(first_due=NOW - 500 * S), NOW), Retry)


def test_a_job_without_a_bound_keeps_no_due_time() -> None:
    decision = decide(Raised(OSError()), PLAIN, FRESH, NOW, due_us=NOW - S)

    assert decision.tries.first_due == 0  # type: ignore[union-attr]


ROWS: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({}, {}, 3),
    ({"retry_for": 60.0}, {}, UNBOUNDED),
    ({"retry_for": 60.0, "max_retries": 2}, {}, 2),
    ({}, {"retry_for": 60 * S}, UNBOUNDED),
    ({}, {"retry_for": 60 * S, "max_retries": 1}, 1),
    ({"max_retries": 4}, {"retry_for": 60 * S}, 4),
    ({"retry_for": 60.0}, {"max_retries": 5}, 5),
]


@each("decorator, header, most", ROWS)
def test_without_a_number_of_retries_only_the_time_bounds_them(
    decorator: dict[str, Any], header: dict[str, Any], most: int
) -> None:
    policy = with_header(policy_of(decorator, CONFIG), header)

    assert policy.max_retries == most
    assert policy.most_retries == (None if most == UNBOUNDED else most)


def test_a_policy_without_these_options_has_the_defaults() -> None:
    policy = policy_of({}, JobConfig())

    assert (policy.retry_delays, policy.retry_for, policy.delay_of, policy.jitters_own_delays) == (
        (),
        None,
        None,
        False,
    )
    assert policy == with_header(policy, {"function": "f"})
    assert Policy().most_retries == 3
