"""What a process counts, kept as cheaply as can be until somebody takes it.

Recording appends raw values to lists; sorting them into buckets waits for `Tally.take`, and is then
done a batch at a time. A child of a worker sends what it took to its supervisor, whose exporter adds
it up; so what a child has sent outlives it, and nothing is kept in files.

Threads: recording needs no lock, because appending to a list and cutting its head off are each
atomic; nothing is lost or counted twice while `take` runs beside it. A tally belongs to one process:
make it after the fork.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from threading import Lock
from typing import Any

from jobfleet.clock import to_seconds, to_us
from jobfleet.metrics.catalog import CATALOG, Metric
from jobfleet.metrics.labels import LABEL_SETS, Labels, LabelSets
from jobfleet.store.call import Call

# A counter's row is (name, labels, by); a histogram's (name, labels, cumulative counts, sum).
Row = tuple[str, Labels, float] | tuple[str, Labels, list[int], float]

BATCH = 1024  # raw values a list may hold before whoever appends folds it
UNKNOWN = -1  # a duration or a wait that there was not

STARTED = CATALOG["jobs_started_total"]
FINISHED = CATALOG["jobs_finished_total"]
DURATION = CATALOG["job_duration_seconds"]
WAIT = CATALOG["queue_wait_seconds"]
TRIPS = CATALOG["redis_command_duration_seconds"]
FOLDED = CATALOG["labels_folded_total"]

COUNTER_LABELS = {
    name: len(metric.labels) for name, metric in CATALOG.items() if metric.type == "counter" and metric.where != "fleet"
}
HISTOGRAM_LABELS = {name: len(metric.labels) for name, metric in CATALOG.items() if metric.type == "histogram"}
BOUNDS_US = {metric.name: [to_us(bound) for bound in metric.buckets] for metric in (DURATION, WAIT)}


class Tally:
    """Counters and histograms of one process since they were last taken.

    It is a recorder for stores (`tripped`, `stumbled`), and for whoever runs jobs.

    Args:
        cap: Label sets a metric may have before further functions become "other".

    Attributes:
        is_on: Whether it counts.
    """

    is_on = True

    def __init__(self, *, cap: int = LABEL_SETS) -> None:
        self._runs: dict[Labels, list[int]] = {}  # by queue, function, outcome: duration, wait, duration, wait …
        self._whole: dict[Labels, list[int]] = {}  # the same of runs whose start counts with their end
        self._counts: list[tuple[str, Labels, float]] = []
        self._seen: list[tuple[str, Labels, float]] = []
        self._trips: dict[str, list[float]] = {}  # by the first script of a pipeline
        self._totals: dict[tuple[str, Labels], float] = {}
        self._spreads: dict[tuple[str, Labels], tuple[list[int], float]] = {}
        self._sets = LabelSets(cap)
        self._lock = Lock()  # held to fold, to take, and to meet a new function; never to record

    # ------------------------------------------------------------------------------- recording

    def run_finished(
        self, queue: str, function: str, outcome: str, duration_us: int, wait_us: int, *, is_whole: bool = False
    ) -> None:
        """Count the end of a run: outcome, duration and wait in one step, the fast path.

        Args:
            queue: Where the job waited.
            function: The name it was enqueued under.
            outcome: See the help of `jobs_finished_total`.
            duration_us: From start to end; `UNKNOWN` if it never started.
            wait_us: From due to started; `UNKNOWN` likewise.
            is_whole: Whether its start is counted with it, not having been counted before.
        """
        runs = self._whole if is_whole else self._runs
        try:
            values = runs[queue, function, outcome]
        except KeyError:
            values = self._meet(runs, (queue, function, outcome))
        values.extend((duration_us, wait_us))  # one call, so that pairs stay pairs
        if len(values) > BATCH:
            self._fold_early()

    def count(self, name: str, labels: Labels = (), by: float = 1) -> None:
        """Add to a counter of the catalog.

        Raises:
            ValueError: There is no such counter, or it has another number of labels.
        """
        if COUNTER_LABELS.get(name) != len(labels):
            raise _refusal("counter", name, labels)
        self._counts.append((name, labels, by))
        if len(self._counts) > BATCH:
            self._fold_early()

    def observe(self, name: str, labels: Labels, seconds: float) -> None:
        """Add one value to a histogram of the catalog; a negative one is taken as not known.

        Raises:
            ValueError: There is no such histogram, or it has another number of labels.
        """
        if HISTOGRAM_LABELS.get(name) != len(labels):
            raise _refusal("histogram", name, labels)
        self._seen.append((name, labels, seconds))
        if len(self._seen) > BATCH:
            self._fold_early()

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        """A round trip to Redis was answered."""
        if not calls:  # nothing was sent
            return
        script = calls[0].script.name
        try:
            trips = self._trips[script]
        except KeyError:
            trips = self._trips.setdefault(script, [])
        trips.append(seconds)
        if len(trips) > BATCH:
            self._fold_early()

    def stumbled(self, error: BaseException) -> None:
        """A round trip to Redis has to be repeated."""
        self.count("redis_errors_total", (type(error).__name__,))

    # ---------------------------------------------------------------------------------- taking

    def take(self) -> list[Row]:
        """All that was counted since the last time, as rows for `Exporter.merge`; msgpack can carry them."""
        with self._lock:
            self._fold()
            rows: list[Row] = [(name, labels, by) for (name, labels), by in self._totals.items()]
            rows += [(name, labels, counts, total) for (name, labels), (counts, total) in self._spreads.items()]
            self._totals, self._spreads = {}, {}
        return rows

    def _meet(self, runs: dict[Labels, list[int]], key: Labels) -> list[int]:
        """The list of a queue, function and outcome not seen before, or of what they fold into."""
        with self._lock:
            return runs.setdefault(self._admit(FINISHED, key), [])

    def _fold_early(self) -> None:
        """Fold now, so that what nobody takes stays small; not if somebody else is at it."""
        if self._lock.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._lock.release()

    def _fold(self) -> None:
        for run, values in self._runs.items():
            if values:
                self._fold_runs(run, _cut(values))
        for run, values in self._whole.items():
            if values:
                whole = _cut(values)
                self._add(STARTED.name, self._admit(STARTED, run[:2]), len(whole) // 2)
                self._fold_runs(run, whole)
        sums: dict[tuple[str, Labels], float] = {}
        for name, labels, by in _cut(self._counts):
            key = (name, labels)
            sums[key] = sums.get(key, 0) + by
        for (name, labels), by in sums.items():
            self._add(name, self._admit(CATALOG[name], labels), by)
        for script, trips in list(self._trips.items()):
            if trips:
                self._spread(TRIPS.name, (script,), TRIPS.buckets, _cut(trips))
        seen: dict[tuple[str, Labels], list[float]] = {}
        for name, labels, seconds in _cut(self._seen):
            seen.setdefault((name, labels), []).append(seconds)
        for (name, labels), times in seen.items():
            self._spread(name, self._admit(CATALOG[name], labels), CATALOG[name].buckets, times)

    def _fold_runs(self, key: Labels, values: list[int]) -> None:
        self._add(FINISHED.name, key, len(values) // 2)
        self._spread_us(DURATION.name, key, values[::2])
        self._spread_us(WAIT.name, self._admit(WAIT, key[:1]), values[1::2])

    def _admit(self, metric: Metric, labels: Labels) -> Labels:
        admitted = self._sets.admit(metric, labels)
        if admitted != labels:
            self._add(FOLDED.name, (metric.name,), 1)
        return admitted

    def _add(self, name: str, labels: Labels, by: float) -> None:
        key = (name, labels)
        self._totals[key] = self._totals.get(key, 0) + by

    def _spread_us(self, name: str, labels: Labels, values: list[int]) -> None:
        cumulative, total = _sort(values, BOUNDS_US[name])
        self._join((name, labels), cumulative, to_seconds(int(total)))

    def _spread(self, name: str, labels: Labels, bounds: Sequence[float], values: list[float]) -> None:
        cumulative, total = _sort(values, bounds)
        self._join((name, labels), cumulative, total)

    def _join(self, key: tuple[str, Labels], cumulative: list[int], total: float) -> None:
        if not cumulative[-1]:
            return
        if key in self._spreads:
            before, sum_before = self._spreads[key]
            cumulative = [a + b for a, b in zip(before, cumulative, strict=True)]
            total += sum_before
        self._spreads[key] = (cumulative, total)


class Mute(Tally):
    """Counts nothing, where nobody would read it."""

    is_on = False

    def run_finished(
        self, queue: str, function: str, outcome: str, duration_us: int, wait_us: int, *, is_whole: bool = False
    ) -> None:
        """Nothing."""

    def count(self, name: str, labels: Labels = (), by: float = 1) -> None:
        """Nothing."""

    def observe(self, name: str, labels: Labels, seconds: float) -> None:
        """Nothing."""

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        """Nothing."""

    def stumbled(self, error: BaseException) -> None:
        """Nothing."""


def tally_for(port: int | None) -> Tally:
    """A tally where a port is set to serve it, else one that counts nothing."""
    return Mute() if port is None else Tally()


def _refusal(kind: str, name: str, labels: Labels) -> ValueError:
    metric = CATALOG.get(name)
    if metric is None or metric.type != kind or metric.where == "fleet":
        return ValueError(f"{name} is no {kind} of a process")
    return ValueError(f"{name} is a {kind} of labels {metric.labels}; given {labels}")


def _cut(values: list[Any]) -> list[Any]:
    """Take what a list holds out of it, leaving alone what other threads append meanwhile."""
    size = len(values)
    batch = values[:size]
    del values[:size]
    return batch


def _sort(values: list[Any], bounds: Sequence[float]) -> tuple[list[int], float]:
    """How many values are at most each bound, then how many there are; and their sum.

    Sorting a batch and looking the bounds up in it costs half of looking each value up in the bounds.
    """
    values.sort()
    if values[0] < 0:
        del values[: bisect_left(values, 0)]
    return [*(bisect_right(values, bound) for bound in bounds), len(values)], sum(values)
