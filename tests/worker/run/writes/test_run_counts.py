"""Counts of runs for the samples: each ending counts, and histograms have a share of them when they are many."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobfleet.samples import CANCELLED, COMPLETED, RETRIED, RUN, STARTED, WAIT, bucket_of
from jobfleet.store.calls.settle import CHUNK, BriefCompletion, Completion, retry
from jobfleet.store.keys import Keyspace
from jobfleet.worker.run.telemetry import EXACT, FunctionRuns, RunCounts

LANE = Keyspace("jobfleet").lane("mail", 0)
DONE = Completion("complete", "", "mail.0.x", 1, b"", 1, 1_000)
BRIEF = BriefCompletion("complete_briefly", "", "mail.0.x", 1, b"", 1, 1_000, 1)


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


def a_run(function: str = "app.send") -> Any:
    """A run that has waited 2 ms. Runs of a function have the same handler."""
    return SimpleNamespace(
        lane=LANE, header={"function": function}, handler=function, started_us=3_000, grant=SimpleNamespace(due=1_000)
    )


def counted(runs: int) -> RunCounts:
    """The counts after so many completed runs of one function, which come in chunks."""
    counts = RunCounts(lambda: (), lambda: 0)
    for _ in range(runs // CHUNK):
        counts.settled([a_run()] * CHUNK, [DONE] * CHUNK, "s" * CHUNK)
    return counts


def points(counts: RunCounts) -> dict[str, dict[int, Any]]:
    """What is new, by function."""
    return {function: point for _, function, point in counts.take()}


@pytest.mark.parametrize("together", [True, False], ids=["in one trip", "in a trip each"])
def test_runs_count_for_their_function_however_they_are_answered(together: bool) -> None:
    endings = [
        (a_run("app.send"), DONE, "s"),
        (a_run("app.call"), BRIEF, "s"),
        (a_run("app.send"), BRIEF, "d"),
        (a_run("app.call"), DONE, "c"),
        (a_run("app.send"), retry("mail.0.x", 1, delay_us=1, tries=""), "s"),
    ]
    counts = RunCounts(lambda: (), lambda: 4_000)

    for part in [endings[:3], endings[3:]] if together else [[one] for one in endings]:
        runs, items, letters = zip(*part, strict=True)
        counts.settled(runs, items, "".join(letters))

    waits, spent = {bucket_of(2_000): 2}, {bucket_of(1_000): 2}
    assert points(counts) == {
        "app.send": {
            COMPLETED: 2, RETRIED: 1, STARTED: 3, WAIT: {bucket_of(2_000): 3}, RUN: {bucket_of(1_000): 3},
        },
        "app.call": {COMPLETED: 1, CANCELLED: 1, STARTED: 2, WAIT: waits, RUN: spent},
    }  # fmt: skip


@pytest.mark.parametrize("skip", [0, 1, 7, 127])
def test_the_share_of_runs_in_the_histograms_does_not_depend_on_the_chunks(observed: list[int], skip: int) -> None:
    alone, together = FunctionRuns("mail", "app.send"), FunctionRuns("mail", "app.send")
    alone.skip = together.skip = skip
    sizes = [1, 50, 3, 49, 50, 7]

    for size in sizes:
        together.complete([a_run()] * size, [DONE] * size)
    chunked = observed.copy()
    for _ in range(sum(sizes)):
        alone.complete([a_run()], [DONE])

    assert chunked == observed[len(chunked) :] == [skip + 1] * (sum(sizes) // (skip + 1))
    assert alone.news(0) == together.news(0)


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
