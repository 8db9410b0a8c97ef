"""Counts of runs for the samples: each ending counts, and histograms have a share of them when they are many."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobfleet.samples.point import COMPLETED, RUN, STARTED, WAIT
from jobfleet.store.calls.settle import Completion
from jobfleet.store.keys import Keyspace
from jobfleet.worker.run.writes.run_counts import EXACT, FunctionRuns, RunCounts

LANE = Keyspace("jobfleet").lane("mail", 0)
DONE = Completion("complete", "", "mail.0.x", 1, b"", 1, 1_000)


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The weight of each run that is added to a histogram."""
    weights: list[int] = []
    add = FunctionRuns.observe

    def observe(runs: FunctionRuns, run: Any, took: int, weight: int) -> None:
        weights.append(weight)
        add(runs, run, took, weight)

    monkeypatch.setattr(FunctionRuns, "observe", observe)
    return weights


def counted(runs: int) -> RunCounts:
    """The counts after so many completed runs of one function."""
    counts = RunCounts(lambda: (), lambda: 0)
    run = SimpleNamespace(
        lane=LANE, header={"function": "app.send"}, handler=1, started_us=3_000, grant=SimpleNamespace(due=1_000)
    )
    for _ in range(runs):
        counts.settled(cast("Any", run), DONE, "s")
    return counts


def test_few_runs_are_all_in_the_histograms(observed: list[int]) -> None:
    [[queue, function, point]] = counted(EXACT).take()

    assert (queue, function) == ("mail", "app.send")
    assert point[COMPLETED] == point[STARTED] == sum(point[WAIT].values()) == sum(point[RUN].values()) == EXACT
    assert observed == [1] * EXACT


def test_a_burst_costs_few_additions_before_its_rate_is_known(observed: list[int]) -> None:
    burst = 100 * EXACT

    [[_, _, point]] = counted(burst).take()

    assert point[COMPLETED] == burst
    assert len(observed) < 8 * EXACT
    assert sum(observed) == sum(point[RUN].values()) == pytest.approx(burst, rel=0.01)
