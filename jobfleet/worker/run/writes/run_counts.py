"""Counts the runs of a child by queue and function, with histograms of their wait and run time, for the samples.

This is on by default, so an ending costs as little as possible: one count, and for a share of the completed runs two
buckets. A function that completes up to `EXACT` runs per second has every run in its histograms. Above that rate, every
second run is taken and counts twice, or every fourth, and so on: percentiles need no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.samples.buckets import BUCKETS, bucket_of
from jobfleet.samples.point import CANCELLED, COMPLETED, FAILED, RETRIED, RUN, STARTED, WAIT
from jobfleet.store.calls.settle import BriefCompletion, Completion, Failure, Item
from jobfleet.store.keys import Lane
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.writes.metrics import SETTLED, function_of

EXACT = 500
"""Completed runs per second and function up to which every one is in the histograms."""
UNKNOWN = "?"
FIELDS = {"fail": FAILED, "retry": RETRIED}
Row = list[Any]


class FunctionRuns:
    """The runs of a function in a lane, since the start of the child.

    Attributes:
        completed: Number of completed runs.
        skip: Completed runs are in the histograms if their number has none of these bits.
        ends: Number of other endings by the field of a point; under `STARTED` those that no field counts.
        wait: Number of runs by the bucket of their wait.
        run: Number of runs by the bucket of their run time.
    """

    __slots__ = ("completed", "ends", "function", "last", "queue", "run", "sent", "since", "skip", "wait", "was")

    def __init__(self, queue: str, function: str) -> None:
        self.queue, self.function = queue, function
        self.completed = 0
        self.skip = 0
        self.ends = {FAILED: 0, RETRIED: 0, CANCELLED: 0, STARTED: 0}
        self.wait, self.run = [0] * BUCKETS, [0] * BUCKETS
        self.sent: dict[int, Any] = {}
        self.last = (0, 0)
        self.was, self.since = 0, monotonic()

    def observe(self, run: Run, took: int, weight: int) -> None:
        """Add a run to the histograms."""
        waited = run.started_us - run.grant.due
        self.wait[bucket_of(max(0, waited))] += weight
        self.run[bucket_of(max(0, took))] += weight

    def adapt(self) -> None:
        """Choose the share of runs for the histograms by the rate since the last call."""
        now = monotonic()
        rate = (self.completed - self.was) / max(0.1, now - self.since)
        self.was, self.since = self.completed, now
        self.skip = (1 << max(0, int(rate / EXACT)).bit_length()) - 1

    def news(self, running: int) -> dict[int, Any]:
        """Return what is new since the last call; another thread may count meanwhile."""
        completed = self.completed
        ended = completed + sum(self.ends.values())
        if (ended, running) == self.last:
            return {}
        self.last = (ended, running)
        wait, run = list(self.wait), list(self.run)
        now = {**self.ends, COMPLETED: completed, STARTED: max(ended + running, self.sent.get(STARTED, 0))}
        now |= {WAIT: wait, RUN: run}
        before, self.sent = self.sent, now
        new: dict[int, Any] = {}
        for field, value in now.items():
            if isinstance(value, list):
                was = before.get(field) or [0] * BUCKETS
                spread = {at: value[at] - was[at] for at in range(BUCKETS) if value[at] != was[at]}
                if spread:
                    new[field] = spread
            elif value != before.get(field, 0):
                new[field] = value - before.get(field, 0)
        return new


class RunCounts:
    """Counts the runs of a child.

    Args:
        running: Returns the runs that have not ended.
        now_us: Redis's time, µs.
    """

    def __init__(self, running: Callable[[], Iterable[Run]], now_us: Callable[[], int]) -> None:
        self._running = running
        self._now_us = now_us
        self._by_lane: dict[Lane, dict[str, FunctionRuns]] = {}

    def settled(self, run: Run, item: Item | None, letter: str) -> None:
        """Count the ending of a run.

        Args:
            run: The run.
            item: How it ended.
            letter: The answer of the script; see `RunEvents.settled`.
        """
        try:
            runs = self._by_lane[run.lane][run.header["function"]]
        except (KeyError, TypeError):
            runs = self._meet(run)
        if letter in SETTLED and item.__class__ is Completion:
            runs.completed = number = runs.completed + 1
            if number & runs.skip == 0:
                runs.observe(run, item.duration_us, runs.skip + 1)
                if number - runs.was > EXACT * (runs.skip + 1):  # a burst, before its rate is known
                    runs.skip = 2 * runs.skip + 1
            return
        self._settled_otherwise(runs, run, item, letter)

    def _settled_otherwise(self, runs: FunctionRuns, run: Run, item: Item | None, letter: str) -> None:
        if not run.started_us:
            return
        if letter not in SETTLED or item is None:
            runs.ends[CANCELLED if letter == "c" else STARTED] += 1
        elif isinstance(item, BriefCompletion):
            runs.completed += 1
        elif item.verb != "withhold":
            runs.ends[FIELDS.get(item.verb, STARTED)] += 1
        took = item.duration_us if isinstance(item, BriefCompletion | Failure) else self._now_us() - run.started_us
        runs.observe(run, took, 1)

    def _meet(self, run: Run) -> FunctionRuns:
        """The runs of a function that is new here; all functions that this child does not know are one."""
        name = UNKNOWN if run.handler is None else function_of(run)
        by_name = self._by_lane.setdefault(run.lane, {})
        return by_name.setdefault(name, FunctionRuns(run.lane.queue, name))

    def take(self) -> list[Row]:
        """Return what is new since the last call: rows of queue, function and a point. May be called in any thread."""
        running: dict[FunctionRuns, int] = {}
        for run in list(self._running()):
            if run.started_us:
                runs = self._meet(run)
                running[runs] = running.get(runs, 0) + 1
        rows = []
        for by_name in list(self._by_lane.values()):
            for runs in list(by_name.values()):
                if new := runs.news(running.get(runs, 0)):
                    rows.append([runs.queue, runs.function, new])
                runs.adapt()
        return rows
