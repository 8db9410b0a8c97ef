"""The reason of `fleet.scale` in words: a reader can compute each number again from the ones before it."""

from __future__ import annotations

import re

import pytest

from jobfleet.model.scale import Live, ScaleRule, Step, decide
from jobfleet.operations.scale import reason_of
from tests.support.each import each

RARE = [*([Step()] * 24), Step(ended=1, runs=1, spent=10.5), *([Step()] * 4), Step(running=1), Step(ended=1, runs=1,
        spent=10.5)]  # fmt: skip
"""Two jobs of 10.5 s in five minutes; one was seen running."""
LONG_RUNS = [Step(ended=10, runs=10, spent=300.0, running=20)] * 40
"""A job of 30 s per second."""


def reason(steps: list[Step], live: Live) -> str:
    rule = ScaleRule()
    return reason_of(rule, live, decide(rule, steps, live))


@each("steps, live, text", [
        (RARE, Live(slots=10, duration=10.5),
         ("0.00667 jobs per second of 10.5 s keep 0.0875 slots busy (rate × time ÷ 0.8); on average 0.167 jobs ran in "
         "the last minute, so 0.167 slots count. 0 waiting jobs need 0 slots to start within 15 s. "
         "With 10 slots per worker this takes 1 worker.")),
        ([], Live(waiting=1, slots=1),
         ("0 jobs per second of 1 s (assumed, because no run has ended yet) keep 0 slots busy (rate × time ÷ 0.8). "
         "1 waiting job needs 0.0667 slots to start within 15 s. With 1 slot per worker this takes 1 worker.")),
        (LONG_RUNS, Live(running=50, current=6, slots=10, duration=30.0),
         ("1 job per second of 30 s keeps 37.5 slots busy (rate × time ÷ 0.8); 14% of 50 running jobs will still "
         "run in 60 s, which makes 39.2 slots. 0 waiting jobs need 0 slots to start within 15 s. "
         "With 10 slots per worker this takes 4 workers.")),
        ([Step(running=1)] * 40, Live(waiting=1, running=1, current=1, slots=2, is_paused=True, duration=1.0),
         ("The queue is paused, so its 1 waiting job counts for nothing. 1 running job keeps 1 slot busy. "
         "With 2 slots per worker this takes 1 worker.")),
        ([Step(waiting=1)] * 40, Live(waiting=1, current=1, slots=1, free=1, duration=1.0),
         ("0 jobs per second of 1 s keep 0 slots busy (rate × time ÷ 0.8). 1 job waits although 1 slot is free, so "
         "more workers would not start them; 'jobfleet explain' tells for what one of them waits. "
         "With 1 slot per worker this takes 0 workers.")),
    ])  # fmt: skip
def test_each_number_follows_from_those_before_it(steps: list[Step], live: Live, text: str) -> None:
    assert reason(steps, live) == text


@pytest.mark.parametrize(("rate", "seconds"), [(5, 1.0), (30, 2.5), (200, 0.04)])
def test_the_slots_are_the_rate_times_the_duration(rate: int, seconds: float) -> None:
    steps = [Step(ended=rate * 10, runs=rate * 10, spent=rate * 10 * seconds)] * 40

    found = re.match(r"([\d.,]+) jobs? per second of ([\d.,]+) s keeps? ([\d.,]+) slots?", reason(steps, Live()))

    assert found is not None
    shown_rate, shown_seconds, slots = (float(one.replace(",", "")) for one in found.groups())
    assert shown_rate * shown_seconds / 0.8 == pytest.approx(slots, rel=0.01)
