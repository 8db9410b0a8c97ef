"""How many workers a queue needs: whole decisions from given samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobfleet.model.scale import Live, ScaleRule, Step, Steps, decide
from tests.support.each import each

BUSY = Step(ended=50, running=4, runs=50, spent=50.0)
"""5 jobs of 1 s per second."""


def steps(*rows: tuple[int, Step | None]) -> list[Step | None]:
    """So many equal steps, one after another."""
    return [step for count, step in rows for _ in range(count)]


@each(
    "past, live, workers",
    [
        ([], Live(), 0),
        ([], Live(waiting=1, slots=10), 1),  # wake from zero
        ([], Live(waiting=600, slots=10, duration=2.0), 8),  # 600 jobs of 2 s within 15 s: 80 slots
        ([], Live(waiting=5, slots=1, duration=600.0), 5),  # never more slots than jobs
        (steps((60, BUSY)), Live(running=4, current=1, slots=2), 4),  # 5 of 0.8 slots
        (steps((60, Step(running=9))), Live(running=9, current=1, slots=1), 9),  # long runs that have not ended
        (steps((60, Step())), Live(current=3, slots=10), 0),  # idle
        (steps((60, Step())), Live(running=1, current=3, slots=10), 0),
        ([], Live(waiting=10_000, slots=1, duration=10.0), 100),
    ],
)
def test_the_workers_follow_from_the_demand(past: Steps, live: Live, workers: int) -> None:
    assert decide(ScaleRule(), past, live).workers == workers


def test_runs_that_got_slow_count_with_their_new_duration() -> None:
    past = steps((50, BUSY), (6, Step(ended=50, running=20, runs=50, spent=200.0)))

    found = decide(ScaleRule(), past, Live(running=20, current=5, slots=5, duration=1.0))

    assert (found.demand.duration, found.workers) == (4.0, 6)  # 5.27 jobs per second of 4 s, and 0.8 of the slots


def test_jobs_that_are_retried_or_become_due_count_as_arrivals_whenever_they_were_enqueued() -> None:
    past = [Step(ended=0, waiting=60 * n, running=2) for n in range(7)]

    found = decide(ScaleRule(), past, Live(waiting=360, running=2, current=1, slots=4, duration=1.0))

    assert (found.demand.rate, found.demand.busy, found.demand.backlog) == (6.0, 7.5, 24.0)
    assert found.workers == 8


def test_workers_for_arrivals_are_kept_for_the_hold_and_those_for_a_backlog_for_a_third() -> None:
    live = Live(current=10, slots=1, duration=1.0)

    def after(quiet: int, peak: Step, hold: float = 300.0) -> tuple[int, str]:
        found = decide(ScaleRule(hold=hold), steps((40, Step()), (1, peak), (quiet, Step())), live)
        return found.workers, found.why

    due, arrived = Step(waiting=240), Step(ended=600, runs=600, spent=600.0)
    assert after(9, due) == (10, "kept")
    assert after(11, due)[0] < 10
    assert after(25, due, hold=900) == (10, "kept")
    assert after(29, arrived) == (10, "kept")
    assert after(36, arrived) == (3, "kept")  # the mean of five minutes is still 2 jobs per second
    assert after(80, arrived) == after(80, due) == (0, "")
    assert after(7, arrived, hold=0) == (3, "")


def test_workers_that_may_still_start_are_not_taken_back() -> None:
    due, none = Step(waiting=300), Live(slots=2, duration=1.0)

    def after(quiet: int, live: Live) -> int:
        return decide(ScaleRule(), steps((60, Step()), (1, due), (quiet, Step())), live).workers

    assert after(1, none) == 14  # 300 jobs within 15 s, and 300 per minute
    assert after(5, none) == 14
    assert after(6, none) < 14
    assert after(1, none._replace(is_paused=True)) == 0


def test_of_long_jobs_those_that_run_count_and_few_arrivals_do_not() -> None:
    past = steps((54, Step(running=8)), (6, Step(ended=1, running=8, runs=1, spent=300.0)))

    found = decide(ScaleRule(), past, Live(running=8, current=2, slots=4))

    assert found.demand.duration == 300.0
    assert 8 <= found.demand.busy < 8.5  # 6 jobs of 300 s that arrive per minute would keep 37 slots busy


def test_growth_is_never_held_and_bounds_hold_for_all() -> None:
    rule = ScaleRule(least=2, most=6)

    assert decide(rule, [], Live(waiting=10_000)).workers == 6
    assert decide(rule, [], Live()).workers == 2
    assert decide(rule, steps((70, Step())), Live(current=9)).workers == 2
    assert decide(rule, [], Live(current=9)) == decide(rule, [None] * 60, Live(current=9))
    assert decide(rule, [], Live(current=9))[::4] == (6, "unknown")


@pytest.mark.parametrize("gap", [[], [None] * 60, steps((70, Step()), (20, None))])
def test_without_enough_samples_no_worker_is_removed(gap: Steps) -> None:
    found = decide(ScaleRule(), gap, Live(current=3, slots=10))

    assert (found.workers, found.wanted, found.why) == (3, 0, "unknown")


def test_jobs_of_a_paused_queue_ask_for_no_worker_and_running_ones_keep_theirs() -> None:
    past = steps((70, Step(waiting=500, running=3)))

    found = decide(ScaleRule(), past, Live(waiting=500, running=3, current=2, slots=2, is_paused=True))

    assert (found.workers, found.demand.slots) == (2, 3.0)
    assert (
        decide(ScaleRule(), steps((70, Step(waiting=500))), Live(waiting=500, is_paused=True, current=2)).workers == 0
    )


def test_jobs_that_wait_beside_free_slots_ask_for_no_worker() -> None:
    past = steps((70, Step(ended=10, waiting=500, running=1, runs=10, spent=10.0)))
    live = Live(waiting=500, running=1, current=2, slots=4, free=7)

    found = decide(ScaleRule(hold=0), past, live)

    assert (found.is_held_back, found.workers, found.demand.backlog) == (True, 1, 0.0)
    assert decide(ScaleRule(), past, live._replace(free=3)).workers > 2
    assert decide(ScaleRule(), [*past[:-1], Step()], live).is_held_back is False


counts = st.integers(0, 10_000)
some_steps = st.lists(
    st.none() | st.builds(Step, ended=counts, waiting=counts, running=counts, runs=counts, spent=st.floats(0, 1e6)),
    max_size=70,
)
lives = st.builds(
    Live, waiting=counts, running=counts, current=st.integers(0, 300), slots=st.floats(1, 500), free=counts,
    is_paused=st.booleans(), duration=st.none() | st.floats(0, 1e6),
)  # fmt: skip
rules = st.builds(
    ScaleRule, least=st.integers(0, 5), most=st.integers(5, 200), wait=st.floats(1, 900), hold=st.floats(0, 600)
)


@given(rules, some_steps, lives)
def test_any_state_has_an_answer_within_the_bounds(rule: ScaleRule, past: Steps, live: Live) -> None:
    found = decide(rule, past, live)

    assert rule.least <= found.workers <= rule.most
    assert found.wanted <= found.workers
    more = decide(rule, past, live._replace(waiting=live.waiting + 100))
    assert more.wanted >= found.wanted
