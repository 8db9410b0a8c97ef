"""Whether what was measured again and again has grown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Growth(NamedTuple):
    """The line of least squares through samples.

    Attributes:
        name: What was measured.
        first: The first value.
        last: The last one.
        slope: Growth along the line for each step.
        whole: Growth along the line from the first sample to the last.
        allowed: How much that may be.
    """

    name: str
    first: float
    last: float
    slope: float
    whole: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        """Whether it has not grown more than it may; what shrinks is flat."""
        return self.whole <= self.allowed


def growth(name: str, samples: Sequence[tuple[float, float]], *, step: float, allowed: float) -> Growth:
    """Draw the line through samples.

    Args:
        name: What was measured.
        samples: Place and value, in order of the places; two or more.
        step: The distance that `Growth.slope` is said for.
        allowed: How much it may have grown from the first to the last.

    Raises:
        ValueError: There are too few samples, or all are of one place.
    """
    span = samples[-1][0] - samples[0][0] if samples else 0.0
    if not span:
        raise ValueError(f"{name}: a line needs two samples, not {len(samples)} of one place.")
    middle = sum(place for place, _ in samples) / len(samples)
    mean = sum(value for _, value in samples) / len(samples)
    rise = sum((place - middle) * (value - mean) for place, value in samples)
    slope = rise / sum((place - middle) ** 2 for place, _ in samples)
    return Growth(name, samples[0][1], samples[-1][1], slope * step, slope * span, allowed)
