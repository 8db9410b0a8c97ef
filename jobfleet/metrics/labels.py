"""The bound on label sets: a metric may grow, but never with what users put into it."""

from __future__ import annotations

from jobfleet.metrics.catalog import Metric

LABEL_SETS = 500
GAUGE_SETS = 5_000
OTHER = "other"

Labels = tuple[str, ...]


class LabelSets:
    """The label sets each metric has shown so far, and what becomes of more.

    Beyond the cap a new set has its `function` turned into "other"; beyond twice the cap, all of
    its labels. So a metric never has more than ``2 × cap + 1`` sets. Not thread-safe: the owner locks.

    Args:
        cap: Label sets a metric may have as they come.
    """

    def __init__(self, cap: int = LABEL_SETS) -> None:
        self._cap = cap
        self._known: dict[str, set[Labels]] = {}

    def admit(self, metric: Metric, labels: Labels) -> Labels:
        """The labels to use: those given, or what they fold into. Compare to see whether it folded."""
        known = self._known.setdefault(metric.name, set())
        if labels in known:
            return labels
        if len(known) >= self._cap:
            labels = tuple(
                OTHER if name == "function" else value for name, value in zip(metric.labels, labels, strict=True)
            )
            if labels not in known and len(known) >= 2 * self._cap:
                labels = (OTHER,) * len(labels)
        known.add(labels)
        return labels
