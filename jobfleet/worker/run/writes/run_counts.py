"""Counts the runs of a child by queue and function, with histograms of their wait and run time, for the samples.

This is on by default, so an ending costs as little as possible: the runs that one trip has settled are counted
together, and a share of the completed ones goes into two buckets. A function that completes up to `EXACT` runs per
second has every run in its histograms. Above that rate, every second run is taken and counts twice, or every fourth,
and so on: percentiles need no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from jobfleet.clock import monotonic
from jobfleet.samples.buckets import BUCKETS, bucket_of
from jobfleet.samples.point import CANCELLED, COMPLETED, FAILED, RETRIED, RUN, STARTED, WAIT
from jobfleet.store.calls.settle import BriefCompletion, Completion, Failure, Item
from jobfleet.store.keys import Lane
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.writes.metrics import SETTLED, function_of

EXACT = 200
"""Completed runs per second and function up to which every one is in the histograms."""
UNKNOWN = "?"
FIELDS = {"fail": FAILED, "retry": RETRIED}
COMPLETIONS = frozenset({Completion, BriefCompletion})
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

    def complete(self, runs: Sequence[Run], items: Sequence[Completion | BriefCompletion]) -> None:
        """Count completed runs, at most `EXACT` at a time, and add their share to the histograms."""
        before, weight = self.completed, self.skip + 1
        self.completed = completed = before + len(runs)
        for at in range(-(before + 1) % weight, len(runs), weight):
            self.observe(runs[at], items[at].duration_us, weight)
        if completed - self.was > EXACT * weight:  # a burst, before its rate is known
            self.skip = 2 * self.skip + 1

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

    def settled(self, runs: Sequence[Run], items: Sequence[Item], letters: str) -> None:
        """Count the endings of runs of one lane that the script has answered together.

        Args:
            runs: The runs; at most `EXACT`.
            items: How each ended.
            letters: The answers of the script, one letter each; see `RunEvents.settled`.
        """
        if not COMPLETIONS.issuperset(map(type, items)) or letters.strip(SETTLED):
            for run, item, letter in zip(runs, items, letters, strict=True):
                self._settled_one(run, item, letter)
            return
        completed = cast("Sequence[Completion | BriefCompletion]", items)
        handlers = [run.handler for run in runs]
        if handlers.count(handlers[0]) == len(handlers):
            self._meet(runs[0]).complete(runs, completed)
            return
        for handler in set(handlers):
            places = [at for at, other in enumerate(handlers) if other is handler]
            self._meet(runs[places[0]]).complete([runs[at] for at in places], [completed[at] for at in places])

    def _settled_one(self, run: Run, item: Item, letter: str) -> None:
        if not run.started_us:
            return
        runs = self._meet(run)
        if letter in SETTLED and isinstance(item, Completion | BriefCompletion):
            runs.complete((run,), (item,))
            return
        if letter not in SETTLED:
            runs.ends[CANCELLED if letter == "c" else STARTED] += 1
        elif item.verb != "withhold":
            runs.ends[FIELDS.get(item.verb, STARTED)] += 1
        took = item.duration_us if isinstance(item, BriefCompletion | Failure) else self._now_us() - run.started_us
        runs.observe(run, took, 1)

    def _meet(self, run: Run) -> FunctionRuns:
        """The runs of a function that is new here; all functions that this child does not know are one."""
        name = UNKNOWN if run.handler is None else function_of(run)
        try:
            return self._by_lane[run.lane][name]
        except KeyError:
            made = FunctionRuns(run.lane.queue, name)
            return self._by_lane.setdefault(run.lane, {}).setdefault(name, made)

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
