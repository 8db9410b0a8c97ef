"""What follows where a worker does not know a function, and another one does or may."""

from __future__ import annotations

from jobfleet.outcome import KnownElsewhere, Outcome, Unrunnable
from jobfleet.retry.decision import Decision, Park, PutBack, Release, decide
from jobfleet.retry.tries import FRESH, Tries
from tests.support.each import each
from tests.test_retry import NOW, PLAIN, S

OLD = Tries(failures=2, parked_since=NOW - 60 * S)


@each(
    "outcome, tries, decision",
    [
        (Unrunnable("an earlier version may", may_fail=False), OLD, Park(1000, OLD)),
        (KnownElsewhere("f", "vm:1"), FRESH, PutBack("f")),
        (KnownElsewhere("f", "vm:1"), Tries(failures=2), PutBack("f")),
        (KnownElsewhere("f", "vm:1"), OLD, PutBack("f", Tries(failures=2))),
    ],
)
def test_a_job_that_another_worker_may_run_does_not_fail(outcome: Outcome, tries: Tries, decision: Decision) -> None:
    assert decide(outcome, PLAIN, tries, NOW) == decision


def test_a_job_that_is_given_back_is_due_at_once_and_keeps_what_it_has_spent() -> None:
    assert Release() == Release(delay_us=0, tries=None)


@each("over, delay", [(-1, 1001), (0, 1000), (1, 1000), (6_000 * S, 1000)])
def test_a_job_that_another_worker_may_know_is_looked_at_at_once_when_its_grace_is_over(over: int, delay: int) -> None:
    parked = Tries(parked_since=NOW - 60 * S - over)

    assert decide(Unrunnable("an earlier version may", may_fail=False), PLAIN, parked, NOW) == Park(delay, parked)
