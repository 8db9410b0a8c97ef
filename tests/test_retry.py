"""The decision after a run: every outcome, with every budget."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobfleet import Discard, EncodingError, ErrorType, InvalidJob, RetryAfter, Snooze
from jobfleet.config import JobConfig
from jobfleet.outcome import (
    Broken,
    Cancelled,
    Crashed,
    Interrupted,
    LeaseLost,
    Outcome,
    OutOfMemory,
    Overdue,
    Preempted,
    Raised,
    Succeeded,
    TimedOut,
    Unrunnable,
    Witnessed,
)
from jobfleet.retry.decision import (
    PARK_DELAY_US,
    PARK_FIRST_US,
    Complete,
    Decision,
    Drop,
    Expire,
    Fail,
    Park,
    Policy,
    Release,
    Retry,
    backoff_us,
    classify,
    decide,
    describe,
    policy_of,
    with_header,
)
from jobfleet.retry.tries import FRESH, Tries
from tests.support.each import each

S = 1_000_000
NOW = 1_700_000_000 * S
TRANSIENT, PERMANENT = ErrorType.TRANSIENT, ErrorType.PERMANENT
PLAIN = Policy(max_retries=2, retry_delay=5.0, retry_backoff=2.0, retry_jitter=False, max_crashes=3, unknown_grace=60)
SPENT = Tries(failures=2, crashes=1, history=("1 5 before",))
SUSPECT = Tries(crashes=1, deaths=3, suspects=4, history=("1 5 SIGSEGV",))
PARKED = Tries(parked_since=NOW - 30 * S, history=("1 5 no worker knows 'f'",))


def line(run: int | str, what: str) -> str:
    return f"{run} {NOW} {what}"


class Busy(ConnectionError):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Numb(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307


TABLE: dict[str, tuple[Outcome, Tries, Decision]] = {
    "succeeded": (Succeeded(30), SPENT, Complete(30)),
    "transient, budget": (Raised(Busy("full")), FRESH, Retry(5 * S, Tries(1, history=(line(1, "Busy: full"),)))),
    "transient, second": (
        Raised(Busy("full")),
        Tries(1, history=("1 5 x",)),
        Retry(10 * S, Tries(2, history=("1 5 x", line(2, "Busy: full")))),
    ),
    "transient, spent": (
        Raised(Busy("full")),
        SPENT,
        Fail("error", TRANSIENT, Tries(3, 1, history=("1 5 before", line(4, "Busy: full")))),
    ),
    "permanent": (
        Raised(ValueError("bad")),
        FRESH,
        Fail("error", PERMANENT, Tries(1, history=(line(1, "ValueError: bad"),))),
    ),
    "a failure clears suspicion and parking": (
        Raised(Busy()),
        Tries(1, 1, 0, NOW - S, deaths=2, suspects=50),
        Retry(10 * S, Tries(2, 1, history=(line(3, "Busy"),))),
    ),
    "retry after": (
        Raised(RetryAfter(60, reason="later")),
        FRESH,
        Retry(60 * S, Tries(1, history=(line(1, "RetryAfter: later"),))),
    ),
    "retry after, spent": (
        Raised(RetryAfter(60, reason="later")),
        SPENT,
        Fail("error", TRANSIENT, Tries(3, 1, history=("1 5 before", line(4, "RetryAfter: later")))),
    ),
    "snooze counts as nothing": (Raised(Snooze(timedelta(minutes=1))), SPENT, Release(60 * S)),
    "discard": (
        Raised(Discard("stale")),
        FRESH,
        Fail("discarded", PERMANENT, Tries(history=(line(1, "Discard: stale"),))),
    ),
    "timed out": (TimedOut(30.0), FRESH, Retry(5 * S, Tries(1, history=(line(1, "timed out after 30 s"),)))),
    "timed out, spent": (
        TimedOut(0.5),
        SPENT,
        Fail("timeout", TRANSIENT, Tries(3, 1, history=("1 5 before", line(4, "timed out after 0.5 s")))),
    ),
    "a first crash goes at once": (
        Crashed("SIGKILL"),
        FRESH,
        Retry(0, Tries(0, 1, deaths=1, suspects=1, history=(line(1, "SIGKILL"),))),
    ),
    "a second crash waits": (
        Crashed("SIGKILL"),
        Tries(0, 1, deaths=1, suspects=1),
        Retry(5 * S, Tries(0, 2, deaths=2, suspects=1, history=(line(2, "SIGKILL"),))),
    ),
    "a last crash fails": (
        Crashed("SIGSEGV"),
        Tries(0, 2),
        Fail("crashed", TRANSIENT, Tries(0, 3, history=(line(3, "SIGSEGV"),))),
    ),
    "a death beside others is witnessed and charged to nobody": (
        Witnessed("SIGKILL; 49 other jobs ran in it", 50),
        FRESH,
        Release(0, Tries(deaths=1, suspects=50, history=(line(1, "SIGKILL; 49 other jobs ran in it"),))),
    ),
    "a death beside others is charged to nobody whose budget is spent": (
        Witnessed("worker gone", 2),
        Tries(0, 9),
        Release(0, Tries(0, 9, deaths=1, suspects=2, history=(line(10, "worker gone"),))),
    ),
    "a suspect that crashes alone is charged and stays one": (
        Crashed("SIGKILL"),
        SUSPECT,
        Retry(5 * S, Tries(0, 2, deaths=4, suspects=1, history=("1 5 SIGSEGV", line(2, "SIGKILL")))),
    ),
    "out of memory is a crash of its own name": (
        OutOfMemory("killed by the kernel"),
        Tries(0, 2),
        Fail("oom", TRANSIENT, Tries(0, 3, history=(line(3, "killed by the kernel"),))),
    ),
    "preempted": (Preempted(), SPENT, Retry(0, Tries(2, 1, 1, history=("1 5 before", line(4, "lease expired"))))),
    "unknown for the first time": (
        Unrunnable("no worker knows 'f'"),
        FRESH,
        Park(PARK_FIRST_US, Tries(0, 0, 0, NOW, history=(line("parked", "no worker knows 'f'"),))),
    ),
    "unknown again keeps its clock and adds no history": (
        Unrunnable("no worker knows 'f'"),
        PARKED,
        Park(PARK_DELAY_US, PARKED),
    ),
    "unknown near the end of its grace": (
        Unrunnable("no worker knows 'f'"),
        Tries(parked_since=NOW - 58 * S),
        Park(2 * S + 1000, Tries(parked_since=NOW - 58 * S)),
    ),
    "unknown past its grace": (
        Unrunnable("no worker knows 'f'"),
        Tries(parked_since=NOW - 60 * S),
        Fail(
            "unknown-function",
            PERMANENT,
            Tries(parked_since=NOW - 60 * S, history=(line("parked", "no worker knows 'f'"),)),
        ),
    ),
    "broken": (
        Broken("no envelope"),
        FRESH,
        Fail("unreadable", PERMANENT, Tries(history=(line(1, "no envelope"),))),
    ),
    "overdue": (Overdue(), SPENT, Expire()),
    "interrupted": (Interrupted(), SPENT, Release()),
    "cancelled": (Cancelled("ann"), SPENT, Release()),
    "lease lost": (LeaseLost(), SPENT, Drop()),
}


@each("case", TABLE)
def test_an_outcome_has_its_decision(case: str) -> None:
    outcome, tries, decision = TABLE[case]

    assert decide(outcome, PLAIN, tries, NOW) == decision


def test_no_retries_means_that_the_first_failure_is_the_last() -> None:
    decision = decide(Raised(Busy()), replace(PLAIN, max_retries=0), FRESH, NOW)

    assert decision == Fail("error", TRANSIENT, Tries(1, history=(line(1, "Busy"),)))


@pytest.mark.parametrize("max_crashes", [0, 1])
def test_with_a_crash_budget_of_one_the_first_crash_alone_is_the_last(max_crashes: int) -> None:
    decision = decide(Crashed("SIGKILL"), replace(PLAIN, max_crashes=max_crashes), FRESH, NOW)

    assert decision == Fail("crashed", TRANSIENT, Tries(0, 1, history=(line(1, "SIGKILL"),)))


@each(
    "error, kind",
    [
        (TypeError(), PERMANENT),
        (ValueError(), PERMANENT),
        (UnicodeDecodeError("utf-8", b"", 0, 1, ""), PERMANENT),
        (LookupError(), PERMANENT),
        (KeyError("k"), PERMANENT),
        (IndexError(), PERMANENT),
        (AttributeError(), PERMANENT),
        (ImportError(), PERMANENT),
        (ModuleNotFoundError(), PERMANENT),
        (NotImplementedError(), PERMANENT),
        (AssertionError(), PERMANENT),
        (PermissionError(), PERMANENT),
        (FileNotFoundError(), PERMANENT),
        (EncodingError(), PERMANENT),
        (InvalidJob(), PERMANENT),
        (OSError(), TRANSIENT),
        (ConnectionError(), TRANSIENT),
        (TimeoutError(), TRANSIENT),
        (RuntimeError(), TRANSIENT),
        (ZeroDivisionError(), TRANSIENT),
        (MemoryError(), TRANSIENT),
        (RecursionError(), TRANSIENT),
        (StopIteration(), TRANSIENT),
        (Exception(), TRANSIENT),
        (SystemExit(1), TRANSIENT),
        (KeyboardInterrupt(), TRANSIENT),
        (asyncio.CancelledError(), TRANSIENT),
        (ExceptionGroup("several", [ValueError()]), TRANSIENT),
    ],
)
def test_errors_are_classified_by_the_default_table(error: BaseException, kind: ErrorType) -> None:
    assert classify(error, Policy()) is kind


@each(
    "error, lists, kind",
    [
        (ValueError(), {"retry_on": (ValueError,)}, TRANSIENT),
        (KeyError(), {"retry_on": (LookupError,)}, TRANSIENT),
        (Busy(), {"discard_on": (Busy,)}, PERMANENT),
        (Busy(), {"discard_on": (OSError,)}, PERMANENT),
        (Busy(), {"retry_on": (Busy,), "discard_on": (OSError,)}, PERMANENT),
        (TimeoutError(), {"retry_on": (ValueError,)}, TRANSIENT),
    ],
)
def test_the_functions_own_lists_go_before_the_table(
    error: BaseException, lists: dict[str, Any], kind: ErrorType
) -> None:
    assert classify(error, Policy(**lists)) is kind


@each(
    "error, text",
    [
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (KeyError("k"), "KeyError: 'k'"),
        (Mute(), "Mute: (its text cannot be read)"),
        (Numb(), "Numb: (its text cannot be read)"),
    ],
)
def test_an_error_is_described_though_its_text_cannot_be_had(error: BaseException, text: str) -> None:
    assert describe(error) == text


@pytest.mark.parametrize("error", [Mute(), Numb()])
def test_a_hostile_error_is_decided_like_any_other(error: Exception) -> None:
    decision = decide(Raised(error), PLAIN, FRESH, NOW)

    what = f"{type(error).__name__}: (its text cannot be read)"
    assert decision == Retry(5 * S, Tries(1, history=(line(1, what),)))


def test_an_error_with_lone_surrogates_is_described_so_that_it_can_be_written() -> None:
    text = describe(ValueError("no such file \udcff"))

    assert text.encode().startswith(b"ValueError: no such file ")


@each("repeated, delay", [(0, 5 * S), (1, 10 * S), (3, 40 * S), (9, 2560 * S), (10, 3600 * S), (100_000, 3600 * S)])
def test_the_delay_doubles_to_its_cap(repeated: int, delay: int) -> None:
    assert backoff_us(PLAIN, repeated) == delay


def test_jitter_takes_half_to_all_of_the_delay() -> None:
    policy = replace(PLAIN, retry_jitter=True)

    assert backoff_us(policy, 0, uniform=lambda low, _: low) == 2_500_000
    assert backoff_us(policy, 0, uniform=lambda _, high: high) == 5_000_000


def test_no_delay_stays_no_delay_after_a_thousand_retries() -> None:
    assert backoff_us(replace(PLAIN, retry_delay=0.0), 5_000) == 0


def test_a_policy_is_the_functions_options_before_the_fleets_settings() -> None:
    config = JobConfig(max_retries=7, retry_delay=1.5, retry_backoff=3.0, retry_jitter=False, max_crashes=9)
    options = {"max_retries": 0, "retry_delay": 2, "retry_jitter": True, "queue": "mail", "max_crashes": None}

    policy = policy_of(options, config, retry_on=(Busy,), discard_on=(KeyError,))

    assert policy == Policy(
        max_retries=0,
        retry_delay=2.0,
        retry_backoff=3.0,
        retry_delay_max=3600.0,
        retry_jitter=True,
        jitters_own_delays=True,
        counts_retries=True,
        max_crashes=9,
        unknown_grace=3600.0,
        retry_on=(Busy,),
        discard_on=(KeyError,),
    )


def test_what_the_job_says_goes_before_its_function() -> None:
    header = {"function": "f", "max_retries": 9, "retry_delay": 250_000, "retry_jitter": True}

    policy = with_header(PLAIN, header)

    assert policy == replace(PLAIN, max_retries=9, retry_delay=0.25, retry_jitter=True, jitters_own_delays=True)
    assert with_header(PLAIN, {"function": "f"}) is PLAIN


@each("signal", [RetryAfter, Snooze])
@each("delay", [-1, float("nan"), "5", True])
def test_a_signal_with_a_wrong_delay_is_refused(signal: Any, delay: Any) -> None:
    with pytest.raises(InvalidJob, match=signal.__name__):
        signal(delay)


def test_signals_say_what_they_ask_for() -> None:
    assert str(RetryAfter(timedelta(minutes=1))) == "asked to be run again after 60 s"
    assert str(RetryAfter(60, reason="busy")) == "busy"
    assert str(Snooze(0.5)) == "asked to be run again after 0.5 s"
    assert str(Discard("stale")) == "stale"


@each("lists, kind", [({}, TRANSIENT), ({"discard_on": (TimeoutError,)}, PERMANENT),
     ({"discard_on": (OSError,)}, PERMANENT), ({"discard_on": (ValueError,)}, TRANSIENT),
      ({"retry_on": (TimeoutError,)}, TRANSIENT)])  # fmt: skip
def test_whether_a_time_out_is_final_is_for_the_function_to_say(lists: dict[str, Any], kind: ErrorType) -> None:
    fresh = decide(TimedOut(3.0), replace(PLAIN, **lists), FRESH, NOW)
    spent = decide(TimedOut(3.0), replace(PLAIN, **lists), SPENT, NOW)

    assert isinstance(fresh, Retry if kind is TRANSIENT else Fail)
    assert isinstance(spent, Fail)
    assert (spent.reason, spent.error_type) == ("timeout", kind)


def test_a_lease_that_ran_out_too_often_fails_a_job_under_its_own_name() -> None:
    lost = Crashed("its worker is gone", failed_as="expired-lease")

    decision = decide(lost, replace(PLAIN, max_crashes=1), FRESH, NOW)

    assert isinstance(decision, Fail)
    assert decision.reason == "expired-lease"
