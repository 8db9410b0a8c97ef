"""A job whose function this worker does not know: it goes back where another one knows it, else it waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobfleet import ErrorType
from jobfleet.outcome import KnownElsewhere, Unrunnable
from jobfleet.retry import FRESH, PARK_DELAY_US, Fail, Park, Policy, PutBack, Tries, decide

S = 1_000_000
NOW = 1_700_000_000 * S
POLICY = Policy(unknown_grace=60)
WHY = "no worker knows 'f'"
HISTORY = (f"1 {NOW} {WHY}",)
SPENT = Tries(failures=2, crashes=1, preemptions=3, history=("1 5 before",))


@pytest.mark.parametrize(
    ("tries", "left"),
    [
        (FRESH, None),
        (SPENT, None),
        (replace(SPENT, parked_since=NOW - 600 * S), SPENT),
        (Tries(parked_since=1), FRESH),
    ],
)
def test_a_job_that_another_worker_knows_goes_back_uncounted_and_its_grace_begins_anew(
    tries: Tries, left: Tries | None
) -> None:
    decision = decide(KnownElsewhere("f", "vm:1234"), POLICY, tries, NOW)

    assert decision == PutBack("f", left)
    assert PutBack("f") == PutBack("f", None)


@pytest.mark.parametrize(
    ("since", "delay"),
    [(0, PARK_DELAY_US), (50 * S + 1001, PARK_DELAY_US - 1), (60 * S, 1000), (61 * S, 1000), (6000 * S, 1000)],
)
def test_a_job_that_another_worker_may_know_never_fails_for_it(since: int, delay: int) -> None:
    parked = Tries(parked_since=NOW - since)

    assert decide(Unrunnable(WHY, may_fail=False), POLICY, parked, NOW) == Park(delay, parked)


@pytest.mark.parametrize(("may_fail", "since", "fails"), [(True, 60, True), (True, 59, False), (False, 60, False)])
def test_it_fails_when_nobody_knew_it_until_its_grace_was_over(may_fail: bool, since: int, fails: bool) -> None:
    parked = Tries(parked_since=NOW - since * S)

    decision = decide(Unrunnable(WHY, may_fail=may_fail), POLICY, parked, NOW)

    failed = Fail("unknown-function", ErrorType.PERMANENT, replace(parked, history=HISTORY))
    assert (decision == failed) is fails
    assert isinstance(decision, Fail) is fails


def test_it_may_fail_unless_somebody_says_otherwise() -> None:
    assert Unrunnable(WHY) == Unrunnable(WHY, may_fail=True)
