"""The edges of the decision after a run: bounds, defaults, and errors that were told by another process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobfleet import Discard, ErrorType, RetryAfter, Snooze
from jobfleet.model.signals import ForeignError
from jobfleet.outcome import Crashed, Interrupted, OutOfCpu, OutOfMemory, Raised, Unrunnable
from jobfleet.retry.decision import (
    PARK_DELAY_US,
    PARK_FIRST_US,
    Fail,
    Park,
    Policy,
    Release,
    Retry,
    backoff_us,
    classify,
    decide,
    describe,
    with_header,
)
from jobfleet.retry.tries import FRESH, NO_SUSPICION, Begun, Tries
from tests.support.each import each

S = 1_000_000
NOW = 1_700_000_000 * S
TRANSIENT, PERMANENT = ErrorType.TRANSIENT, ErrorType.PERMANENT
PLAIN = Policy(max_retries=2, retry_delay=5.0, retry_backoff=2.0, retry_jitter=False, max_crashes=3, unknown_grace=60)


def line(run: int | str, what: str) -> str:
    return f"{run} {NOW} {what}"


def foreign(kind: ErrorType, steers: Any = None) -> ForeignError:
    return ForeignError("Busy: full", error_class="Busy", error_type=kind, steers=steers)


def test_a_policy_has_these_defaults() -> None:
    assert Policy() == Policy(
        max_retries=3,
        retry_delay=5.0,
        retry_backoff=2.0,
        retry_delay_max=3600.0,
        retry_jitter=True,
        max_crashes=3,
        unknown_grace=3600.0,
        retry_on=(),
        discard_on=(),
    )


def test_nothing_is_spent_at_first() -> None:
    assert (FRESH.failures, FRESH.crashes, FRESH.preemptions, FRESH.parked_since) == (0, 0, 0, 0)
    assert (FRESH.suspicion, FRESH.history, FRESH.attempt, FRESH.last_error) == (NO_SUSPICION, (), 1, None)


def test_every_run_of_the_past_counts_for_the_number_of_the_next() -> None:
    assert Tries(failures=10, crashes=200, preemptions=3000).attempt == 3211


@each(
    "history, error",
    [
        ((), None),
        (("1 5 ValueError: a b",), "ValueError: a b"),
        (("1 5 first", "2 6 second"), "second"),
        (("1 5 first", "replayed 6 by ann"), None),
        (("replayed 6 by ann", "1 7 first"), "first"),
        (("1 5",), "5"),
    ],
)
def test_the_last_error_is_what_the_last_run_ended_with(history: tuple[str, ...], error: str | None) -> None:
    assert Tries(history=history).last_error == error


@pytest.mark.parametrize("kind", [TRANSIENT, PERMANENT])
def test_an_error_of_another_process_is_what_that_process_has_found(kind: ErrorType) -> None:
    policy = replace(PLAIN, retry_on=(ForeignError,), discard_on=(ForeignError,))

    assert classify(foreign(kind), policy) is kind
    assert describe(foreign(kind)) == "Busy: full"


@each(
    "steers, decision",
    [
        (None, Retry(5 * S, Tries(1, history=(line(1, "Busy: full"),)))),
        (Snooze(7), Release(7 * S)),
        (RetryAfter(9), Retry(9 * S, Tries(1, history=(line(1, "Busy: full"),)))),
        (Discard("stale"), Fail("discarded", PERMANENT, Tries(history=(line(1, "Busy: full"),)))),
    ],
)
def test_an_error_of_another_process_steers_as_one_of_this_process_does(steers: Any, decision: Any) -> None:
    assert decide(Raised(foreign(TRANSIENT, steers)), PLAIN, FRESH, NOW) == decision


def test_a_run_out_of_cpu_timed_out() -> None:
    history = (line(1, "used more than 2.5 s of CPU"),)

    assert decide(OutOfCpu(2.5), PLAIN, FRESH, NOW) == Retry(5 * S, Tries(1, history=history))
    assert decide(OutOfCpu(2.5), replace(PLAIN, max_retries=0), FRESH, NOW) == Fail(
        "timeout", TRANSIENT, Tries(1, history=history)
    )
    assert decide(OutOfCpu(2.5), replace(PLAIN, discard_on=(TimeoutError,)), FRESH, NOW) == Fail(
        "timeout", PERMANENT, Tries(1, history=history)
    )


def test_a_run_out_of_memory_crashed_alone_under_its_own_name() -> None:
    reason = OutOfMemory("took more than 5 MB").reason

    assert decide(OutOfMemory("took more than 5 MB"), PLAIN, FRESH, NOW) == Retry(
        0, Tries(0, 1, deaths=1, suspects=1, history=(line(1, reason),))
    )
    assert decide(OutOfMemory("took more than 5 MB"), PLAIN, Tries(0, 2), NOW) == Fail(
        "oom", TRANSIENT, Tries(0, 3, history=(line(3, reason),))
    )


@each("crashes, delay", [(0, 0), (1, 5 * S), (2, 10 * S), (3, 20 * S)])
def test_the_delay_after_a_crash_grows_from_the_second_one_on(crashes: int, delay: int) -> None:
    decision = decide(Crashed("SIGKILL"), replace(PLAIN, max_crashes=9), Tries(0, crashes), NOW)

    assert isinstance(decision, Retry)
    assert (decision.delay_us, decision.tries.crashes) == (delay, crashes + 1)


@each("failures, runs_again", [(0, True), (1, True), (2, False), (3, False)])
def test_as_many_failed_runs_are_repeated_as_the_policy_says(failures: int, runs_again: bool) -> None:
    decision = decide(Raised(OSError()), PLAIN, Tries(failures), NOW)

    assert isinstance(decision, Retry if runs_again else Fail)


@each(
    "since, delay",
    [
        (0, PARK_FIRST_US),
        (PARK_FIRST_US + 1, PARK_FIRST_US + 1),
        (4 * S, 4 * S),
        (10 * S, PARK_DELAY_US),
        (49 * S, PARK_DELAY_US),
        (50 * S, PARK_DELAY_US),
        (50 * S + 1000, PARK_DELAY_US),
        (50 * S + 1001, PARK_DELAY_US - 1),
        (60 * S - 1, 1001),
    ],
)
def test_a_job_that_nobody_knows_waits_no_longer_than_its_grace_lasts(since: int, delay: int) -> None:
    parked = Tries(parked_since=NOW - since)

    assert decide(Unrunnable("no worker knows 'f'"), PLAIN, parked, NOW) == Park(delay, parked)


def test_its_grace_begins_when_it_is_parked_first_and_ends_at_a_moment() -> None:
    first = decide(Unrunnable("no worker knows 'f'"), PLAIN, FRESH, NOW)
    last = decide(Unrunnable("no worker knows 'f'"), PLAIN, Tries(parked_since=NOW - 60 * S), NOW)

    assert first == Park(PARK_FIRST_US, Tries(parked_since=NOW, history=(line("parked", "no worker knows 'f'"),)))
    assert isinstance(last, Fail)
    assert (PARK_FIRST_US, PARK_DELAY_US) == (S // 4, 10 * S)


def test_a_job_without_a_grace_is_failed_at_once() -> None:
    decision = decide(Unrunnable("no worker knows 'f'"), replace(PLAIN, unknown_grace=0), FRESH, NOW)

    assert decision == Fail("unknown-function", PERMANENT, Tries(history=(line("parked", "no worker knows 'f'"),)))


def test_jitter_is_drawn_from_half_to_all() -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.75

    policy = replace(PLAIN, retry_jitter=True)

    assert backoff_us(policy, 1, uniform=uniform) == 7_500_000
    assert decide(Raised(OSError()), policy, Tries(1), NOW, uniform=uniform).delay_us == 7_500_000  # type: ignore[union-attr]
    assert decide(Crashed("x"), policy, Tries(0, 1), NOW, uniform=uniform).delay_us == 3_750_000  # type: ignore[union-attr]
    assert drawn == [(0.5, 1.0)] * 3
    assert backoff_us(PLAIN, 1, uniform=uniform) == 10 * S
    assert len(drawn) == 3, "none is drawn without jitter"


def test_a_factor_beyond_all_numbers_ends_at_the_cap() -> None:
    policy = replace(PLAIN, retry_backoff=10.0, retry_delay_max=7.0)

    assert backoff_us(policy, 1000) == 7 * S
    assert backoff_us(replace(policy, retry_delay=0.0), 1000) == 0


def test_a_shrinking_delay_may_be_asked_for() -> None:
    assert [backoff_us(replace(PLAIN, retry_backoff=0.5), repeated) for repeated in (0, 1, 2)] == [
        5 * S,
        2_500_000,
        1_250_000,
    ]


@each("name", ["max_retries", "retry_backoff", "retry_jitter", "max_crashes"])
def test_each_option_of_the_job_goes_before_its_function(name: str) -> None:
    wanted: dict[str, Any] = {name: 7}
    if name == "retry_jitter":
        wanted["jitters_own_delays"] = 7
    assert with_header(PLAIN, {name: 7}) == replace(PLAIN, **wanted)


def test_the_history_is_bounded_to_the_letter() -> None:
    tries = Tries(history=tuple(map(str, range(9))))

    ten = tries.noting(NOW, "x")
    eleven = ten.noting(NOW, " y \n z ")

    assert ten.history == (*map(str, range(9)), line(9, "x"))
    assert eleven.history == (*map(str, range(1, 9)), line(9, "x"), line(10, "y z"))
    exact = "a" * (300 - len(line(9, "")))
    assert tries.noting(NOW, exact).history[-1] == tries.noting(NOW, exact + "b").history[-1] == line(9, exact)


def test_runs_are_numbered_on_whatever_came_between() -> None:
    first = Tries().noting(NOW, "died").noting(NOW, "died")
    replayed = Tries(history=(*first.history, f"replayed {NOW} ann"))
    parked = replayed.parking(NOW, "unknown function 'a'")

    assert [one.runs for one in (Tries(), first, replayed, parked, parked.noting(NOW, "x"))] == [0, 2, 2, 2, 3]
    assert parked.history[-1] == f"parked {NOW} unknown function 'a'"
    assert Tries(failures=2).runs == 2, "an older revision may have written no history"


def test_a_run_that_was_handed_back_is_no_error() -> None:
    handed_back = decide(Interrupted(), PLAIN, Tries(), NOW, begun=Begun(NOW - 5, "box:11:aa.2"))

    assert handed_back == Release(0, Tries(history=(f"1/{NOW - 5}/box:11:aa.2 {NOW} handed back: its worker stopped",)))
    assert handed_back.tries is not None
    assert handed_back.tries.last_error is None
    assert decide(Interrupted(), PLAIN, Tries(), NOW) == Release()
