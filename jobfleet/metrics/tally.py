"""The counts of one process, recorded as cheaply as possible until they are taken.

Recording appends raw values to lists; `Tally.take` sorts them into buckets, one batch at a time. A child of a
worker sends its counts to the supervisor, whose exporter adds them up. So counts that were sent outlive the child,
and no files are needed.

Threads: recording needs no lock, because appending to a list and removing its head are atomic; no value is lost
or counted twice while `take` runs at the same time. A tally belongs to one process: create it after the fork.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any

from jobfleet.clock import to_seconds, to_us
from jobfleet.metrics.catalog import CATALOG, Metric
from jobfleet.store.call import Call

# The limit on label sets, so that values chosen by users cannot grow a metric without bound.


LABEL_SETS = 500
GAUGE_SETS = 5_000
OTHER = "other"

Labels = tuple[str, ...]


class LabelSets:
    """The label sets of each metric so far. Further ones are folded into "other".

    Above the cap, the label `function` of a new set becomes "other"; above twice the cap, all its labels do.
    So a metric has at most ``2 × cap + 1`` sets. Not thread-safe: the owner holds a lock.

    Args:
        cap: Label sets per metric that are kept unchanged; default 500.
    """

    def __init__(self, cap: int = LABEL_SETS) -> None:
        self._cap = cap
        self._known: dict[str, set[Labels]] = {}
        self._folded: dict[str, set[Labels]] = {}

    def admit(self, metric: Metric, labels: Labels) -> Labels:
        """Return the labels to count under: the given ones, or the overflow label once there are too many.

        Args:
            metric: The metric.
            labels: Values of its labels.
        """
        known = self._known.setdefault(metric.name, set())
        if labels in known:
            return labels
        other = tuple(OTHER if name == "function" else value for name, value in zip(metric.labels, labels, strict=True))
        # A child may have folded them. They take no place, so that the order of its rows makes no difference.
        if labels != other and len(known) < self._cap:
            known.add(labels)
            return labels
        folded = self._folded.setdefault(metric.name, set())
        if other not in folded and len(folded) >= self._cap:
            other = (OTHER,) * len(labels)
        folded.add(other)
        return other


# A counter's row is (name, labels, by); a histogram's (name, labels, cumulative counts, sum).
Row = tuple[str, Labels, float] | tuple[str, Labels, list[int], float]

KeyUses = Callable[[], Iterable[tuple[Labels, float]]]

BATCH = 1024  # raw values per list; the recorder of the next one folds the list
UNKNOWN = -1  # in place of a duration or wait that is not known

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

    It is the recorder of a store (`tripped`, `stumbled`) and of the code that runs jobs.

    Args:
        cap: Label sets per metric before further functions become "other"; default 500.

    Attributes:
        is_on: Whether it counts.
    """

    is_on = True

    def __init__(self, *, cap: int = LABEL_SETS) -> None:
        self._runs: dict[Labels, list[int]] = {}  # by queue, function, outcome: duration, wait, duration, wait …
        self._whole: dict[Labels, list[int]] = {}  # the same for runs whose start is counted with their end
        self._counts: list[tuple[str, Labels, float]] = []
        self._seen: list[tuple[str, Labels, float]] = []
        self._trips: dict[str, list[float]] = {}  # by the first script of a pipeline
        self._totals: dict[tuple[str, Labels], float] = {}
        self._spreads: dict[tuple[str, Labels], tuple[list[int], float]] = {}
        self._sets = LabelSets(cap)
        self._key_uses: list[KeyUses] = []
        self._lock = Lock()  # held to fold, to take and to add a new function; never to record

    # ------------------------------------------------------------------------------- recording

    def run_finished(
        self, queue: str, function: str, outcome: str, duration_us: int, wait_us: int, *, is_whole: bool = False
    ) -> None:
        """Count the end of a run: outcome, duration and wait in one step.

        Args:
            queue: The queue of the job.
            function: The function's name in the job.
            outcome: See the help of `jobs_finished_total`.
            duration_us: Time from start to end, in µs; `UNKNOWN` if the run never started.
            wait_us: Time from due to started, in µs; `UNKNOWN` if it is not known.
            is_whole: Whether to count the start of the run, too.
        """
        runs = self._whole if is_whole else self._runs
        try:
            values = runs[queue, function, outcome]
        except KeyError:
            values = self._meet(runs, (queue, function, outcome))
        values.extend((duration_us, wait_us))  # one call, so that another thread cannot come between the two
        if len(values) > BATCH:
            self._fold_early()

    def count(self, name: str, labels: Labels = (), by: float = 1) -> None:
        """Add to a counter of the catalogue.

        Args:
            name: Name of the counter, without the prefix.
            labels: Values of its labels.
            by: The increase, 0 or more; default 1.

        Raises:
            ValueError: There is no such counter, or it has another number of labels.
        """
        if COUNTER_LABELS.get(name) != len(labels):
            raise _refusal("counter", name, labels)
        self._counts.append((name, labels, by))
        if len(self._counts) > BATCH:
            self._fold_early()

    def observe(self, name: str, labels: Labels, seconds: float) -> None:
        """Add one value to a histogram of the catalogue.

        Args:
            name: Name of the histogram, without the prefix.
            labels: Values of its labels.
            seconds: The value; a negative one means unknown and is not counted.

        Raises:
            ValueError: There is no such histogram, or it has another number of labels.
        """
        if HISTOGRAM_LABELS.get(name) != len(labels):
            raise _refusal("histogram", name, labels)
        self._seen.append((name, labels, seconds))
        if len(self._seen) > BATCH:
            self._fold_early()

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        """Record a round trip to Redis: its calls and its duration in seconds."""
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
        """Record a round trip to Redis that failed with this error and is repeated."""
        self.count("redis_errors_total", (type(error).__name__,))

    # ---------------------------------------------------------------------------------- taking

    def count_keys(self, uses: KeyUses) -> None:
        """Count the uses of keys with each `take`; `uses` returns those since its last call."""
        self._key_uses.append(uses)

    def take(self) -> list[Row]:
        """Return all counts since the last call, as rows for `Exporter.merge` that msgpack can encode."""
        for uses in self._key_uses:
            for key_and_use, by in uses():
                self.count("key_uses_total", key_and_use, by)
        with self._lock:
            self._fold()
            rows: list[Row] = [(name, labels, by) for (name, labels), by in self._totals.items()]
            rows += [(name, labels, counts, total) for (name, labels), (counts, total) in self._spreads.items()]
            self._totals, self._spreads = {}, {}
        return rows

    def _meet(self, runs: dict[Labels, list[int]], key: Labels) -> list[int]:
        """The list of a new queue, function and outcome, or of the labels that they fold into."""
        with self._lock:
            return runs.setdefault(self._admit(FINISHED, key), [])

    def _fold_early(self) -> None:
        """Fold now, so that lists stay small even if nothing takes them; skip if another thread is folding."""
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
    """Counts nothing, for a process whose metrics are not served."""

    is_on = False

    def run_finished(
        self, queue: str, function: str, outcome: str, duration_us: int, wait_us: int, *, is_whole: bool = False
    ) -> None:
        """Do nothing."""

    def count(self, name: str, labels: Labels = (), by: float = 1) -> None:
        """Do nothing."""

    def observe(self, name: str, labels: Labels, seconds: float) -> None:
        """Do nothing."""

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        """Do nothing."""

    def stumbled(self, error: BaseException) -> None:
        """Do nothing."""


def tally_for(port: int | None) -> Tally:
    """A tally if a metrics port is set, else one that counts nothing."""
    return Mute() if port is None else Tally()


def _refusal(kind: str, name: str, labels: Labels) -> ValueError:
    metric = CATALOG.get(name)
    if metric is None or metric.type != kind or metric.where == "fleet":
        return ValueError(f"{name} is not a {kind} of a process")
    return ValueError(f"{name} is a {kind} with the labels {metric.labels}, not {labels}")


def _cut(values: list[Any]) -> list[Any]:
    """Remove the current items from a list and return them; items that other threads append meanwhile stay."""
    size = len(values)
    batch = values[:size]
    del values[:size]
    return batch


def _sort(values: list[Any], bounds: Sequence[float]) -> tuple[list[int], float]:
    """Return the number of values up to each bound, the number of all, and the sum.

    Sorting a batch and looking up the bounds costs half as much as looking up each value in the bounds.
    """
    values.sort()
    if values[0] < 0:
        del values[: bisect_left(values, 0)]
    return [*(bisect_right(values, bound) for bound in bounds), len(values)], sum(values)
