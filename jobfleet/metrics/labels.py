"""The limit on label sets, so that values chosen by users cannot grow a metric without bound."""

from __future__ import annotations

from jobfleet.metrics.catalog import Metric

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
        """Return the labels to use: the given ones, or those that they fold into.

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
