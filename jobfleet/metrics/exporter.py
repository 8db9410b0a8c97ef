"""Adds up the counts of several processes and writes them in Prometheus' format."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from jobfleet.metrics.catalog import CATALOG, METRICS, Metric
from jobfleet.metrics.tally import GAUGE_SETS, LABEL_SETS, Labels, LabelSets
from jobfleet.version import VERSION

Values = dict[Labels, float]
Spreads = dict[Labels, tuple[list[int], float]]


class Exporter(Collector):
    """The sum of all merged tallies, and the last value of each gauge.

    Thread-safe. The counts of a process remain when that process dies.

    Args:
        registry: Registry to register with; by default a new one, which also exports this process's memory,
            CPU time and open files.
        namespace: Value of the label ``namespace`` of every metric; None leaves the label out.
        cap: Label sets per counter or histogram before further functions become "other".
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, namespace: str | None = None, cap: int = LABEL_SETS
    ) -> None:
        self._lock = Lock()
        self._namespace = () if namespace is None else (namespace,)
        self._sets = LabelSets(cap)
        self._values: dict[str, Values] = {metric.name: {} for metric in METRICS if metric.type != "histogram"}
        self._spreads: dict[str, Spreads] = {metric.name: {} for metric in METRICS if metric.type == "histogram"}
        for metric in METRICS:  # counters without labels start at 0, so that the first increase is visible
            if metric.type == "counter" and not metric.labels and metric.where == "both":
                self._values[metric.name][()] = 0
        self.set("build_info", (VERSION, platform.python_version()), 1)
        if registry is None:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
        self.registry = registry
        registry.register(self)

    def merge(self, delta: Iterable[Sequence[Any]]) -> None:
        """Add the rows of `Tally.take`, before or after msgpack.

        A row that cannot be read is left out and counted: a child of another version must not break its supervisor.

        Args:
            delta: The rows.
        """
        with self._lock:
            for row in delta:
                if not self._merge_row(row):
                    self._values["rows_refused_total"][()] += 1

    def begin(self, name: str, labels: Iterable[Labels]) -> None:
        """Start a counter at 0 for labels that are known in advance, so that the first increase is visible.

        Args:
            name: Name of the counter, without the prefix.
            labels: The label sets.

        Raises:
            ValueError: There is no such counter.
        """
        if (metric := CATALOG.get(name)) is None or metric.type != "counter":
            raise ValueError(f"{name} is not a counter")
        with self._lock:
            for each in labels:
                self._values[name].setdefault(self._admit(metric, each), 0)

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Set a gauge or a fleet-wide metric.

        Args:
            name: Name of the metric, without the prefix.
            labels: Values of its labels.
            value: The value, in the unit of the metric's name.

        Raises:
            ValueError: There is no such gauge, or it has another number of labels.
        """
        _check_gauge(name, labels)
        with self._lock:
            self._set(name, labels, value)

    def replace(self, name: str, values: Mapping[Labels, float]) -> None:
        """Replace all values of a gauge or a fleet-wide metric at once; a scrape sees the old or the new ones.

        Args:
            name: Name of the metric, without the prefix.
            values: The values by labels; all other label sets are removed.

        Raises:
            ValueError: There is no such gauge, or it has another number of labels.
        """
        for labels in values:
            _check_gauge(name, labels)
        with self._lock:
            self._values[name].clear()
            for labels, value in values.items():
                self._set(name, labels, value)

    def clear(self, name: str) -> None:
        """Remove all values of a gauge.

        Args:
            name: Name of the gauge, without the prefix.

        Raises:
            ValueError: There is no such gauge.
        """
        self.replace(_gauge(name).name, {})

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    # -------------------------------------------------------------------- prometheus_client's Collector

    def collect(self) -> Iterator[Family]:
        """Yield each metric that has values."""
        with self._lock:
            values = {name: dict(of) for name, of in self._values.items()}
            spreads = {name: dict(of) for name, of in self._spreads.items()}
        for metric in METRICS:
            if metric.type == "histogram":
                if spreads[metric.name]:
                    yield self._spread_family(metric, spreads[metric.name])
            elif values[metric.name]:
                yield self._value_family(metric, values[metric.name])

    def describe(self) -> Iterator[Family]:
        """Yield each metric without values, so that a scrape can select some by name."""
        for metric in METRICS:
            yield self._spread_family(metric, {}) if metric.type == "histogram" else self._value_family(metric, {})

    # ------------------------------------------------------------------------------------------ inside

    def _merge_row(self, row: Any) -> bool:
        """Add one row; return False if it cannot be read."""
        match row:
            case (str(name), [*given], int() | float() as by) if _fits(name, "counter", given) and by >= 0:
                values = self._values[name]
                labels = self._admit(CATALOG[name], tuple(given))
                values[labels] = values.get(labels, 0) + by
            case (str(name), [*given], [*counts], int() | float() as total) if (
                _fits(name, "histogram", given)
                and _is_cumulative(counts, len(CATALOG[name].buckets) + 1)
                and total >= 0
            ):
                labels = self._admit(CATALOG[name], tuple(given))
                spreads = self._spreads[name]
                if labels in spreads:
                    before, sum_before = spreads[labels]
                    counts = [a + b for a, b in zip(before, counts, strict=True)]
                    total += sum_before
                spreads[labels] = (counts, total)
            case _:
                return False
        return True

    def _admit(self, metric: Metric, labels: Labels) -> Labels:
        admitted = self._sets.admit(metric, labels)
        if admitted != labels:
            self._count_folded(metric.name)
        return admitted

    def _set(self, name: str, labels: Labels, value: float) -> None:
        values = self._values[name]
        if labels not in values and len(values) >= GAUGE_SETS:
            self._count_folded(name)  # gauges cannot be summed, so they have no "other"
            return
        values[labels] = value

    def _value_family(self, metric: Metric, values: Values) -> Family:
        kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
        family = kind(metric.full_name, metric.help, labels=self._labels(metric))
        for labels, value in sorted(values.items()):
            family.add_metric((*self._namespace, *labels), value)
        return family

    def _spread_family(self, metric: Metric, spreads: Spreads) -> Family:
        family = HistogramMetricFamily(metric.full_name, metric.help, labels=self._labels(metric))
        bounds = [*(repr(bound) for bound in metric.buckets), "+Inf"]
        for labels, (counts, total) in sorted(spreads.items()):
            family.add_metric((*self._namespace, *labels), list(zip(bounds, counts, strict=True)), total)
        return family

    def _labels(self, metric: Metric) -> Labels:
        return ("namespace", *metric.labels) if self._namespace else metric.labels

    def _count_folded(self, name: str) -> None:
        folded = self._values["labels_folded_total"]
        folded[name,] = folded.get((name,), 0) + 1


def _gauge(name: str) -> Metric:
    metric = CATALOG.get(name)
    if metric is None or (metric.type != "gauge" and metric.where != "fleet"):
        raise ValueError(f"{name} is not a gauge")
    return metric


def _check_gauge(name: str, labels: Labels) -> None:
    metric = _gauge(name)
    if len(labels) != len(metric.labels):
        raise ValueError(f"{name} is a gauge with the labels {metric.labels}, not {labels}")


def _fits(name: str, kind: str, labels: list[Any]) -> bool:
    metric = CATALOG.get(name)
    return (
        metric is not None
        and metric.type == kind
        and metric.where != "fleet"
        and len(labels) == len(metric.labels)
        and all(isinstance(label, str) for label in labels)
    )


def _is_cumulative(counts: list[Any], length: int) -> bool:
    return (
        len(counts) == length
        and all(isinstance(count, int) for count in counts)
        and counts[0] >= 0
        and counts == sorted(counts)
    )
