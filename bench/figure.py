"""Figures, what is asked of them, and the table they end in."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

UNSURE = 0.05
"""The chance that an interval does not hold the true median."""
MANY = 8
"""Readings from which the interval of a ratio is shown."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the budget asks: the value, or its ratio to the floor, at least or at most so much."""

    sign: Literal["≥", "≤"]
    number: float
    of: Literal["value", "ratio"] = "value"

    def is_met(self, value: float, ratio: float | None) -> bool:
        measured = value if self.of == "value" else ratio
        if measured is None:
            return False
        return measured >= self.number if self.sign == "≥" else measured <= self.number

    def text(self, unit: str) -> str:
        return (
            f"{self.sign} {self.number:g} × floor"
            if self.of == "ratio"
            else f"{self.sign} {number(self.number)} {unit}"
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        key: Its name in the JSON.
        title: What was measured.
        unit: Of value and floor.
        floor: What the floor is, in a few words.
        target: What is asked; None for what is only told.
    """

    key: str
    title: str
    unit: str
    floor: str = ""
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure in one round."""

    value: float
    floor: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Figures that are measured together.

    Attributes:
        name: What the command line calls it.
        figures: What it gives.
        measure: Measures once; a reading by the figure's key, or several that were taken in turns.
        rounds: How often at most; for those that take long.
    """

    name: str
    figures: Sequence[Figure]
    measure: Callable[[Any], Mapping[str, Reading | Sequence[Reading]]]
    rounds: int = 99


@dataclass(slots=True)
class Outcome:
    """A figure over all rounds."""

    figure: Figure
    readings: list[Reading] = field(default_factory=list)
    error: str = ""

    @property
    def value(self) -> float | None:
        """The median."""
        return statistics.median(reading.value for reading in self.readings) if self.readings else None

    @property
    def floor(self) -> float | None:
        """The floor's median."""
        floors = [reading.floor for reading in self.readings if reading.floor is not None]
        return statistics.median(floors) if floors else None

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios: value and floor of one round met the same machine."""
        return statistics.median(self._ratios) if self._ratios else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the true median of the ratios is with 95 % confidence, by the sign test; None for too few readings."""
        return interval(self._ratios)

    @property
    def _ratios(self) -> list[float]:
        return [reading.value / reading.floor for reading in self.readings if reading.floor]

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None where there is nothing to meet."""
        if self.figure.target is None or self.value is None:
            return None
        return self.figure.target.is_met(self.value, self.ratio)

    def plain(self) -> dict[str, object]:
        """For JSON."""
        target = self.figure.target
        return {
            "title": self.figure.title,
            "unit": self.figure.unit,
            "value": self.value,
            "floor": self.floor,
            "floor_is": self.figure.floor,
            "ratio": self.ratio,
            "interval": self.interval,
            "target": None if target is None else target.text(self.figure.unit),
            "met": self.is_met,
            "rounds": [[reading.value, reading.floor] for reading in self.readings],
            "error": self.error,
        }


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The values between which the true median is, by the sign test: it assumes no distribution.

    The chance that the true median is below the r-th smallest of n values is that of fewer than r heads in n throws.
    """
    ordered, count = sorted(values), len(values)
    rank, chance = 0, 0.0
    while (chance := chance + math.comb(count, rank) / 2**count) <= UNSURE / 2:
        rank += 1
    return (ordered[rank - 1], ordered[-rank]) if rank else None


def number(value: float | None) -> str:
    """A number for people: three significant digits, thousands parted."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(outcomes: Sequence[Outcome], *, markdown: bool = False) -> str:
    """All figures, one a line."""
    heads = ("figure", "measured", "spread", "floor", "ratio", "target", "met")
    lines = [heads, *(_line(outcome) for outcome in outcomes)]
    if markdown:
        cells = [heads, ("---", *["---:"] * 4, "---", "---"), *lines[1:]]
        return "\n".join("| " + " | ".join(line) + " |" for line in cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    rows = []
    for line in lines:
        parts = [
            cell.rjust(width) if 1 <= column <= 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        rows.append("  ".join(parts).rstrip())
    return "\n".join(rows)


def _line(outcome: Outcome) -> tuple[str, ...]:
    figure, values = outcome.figure, [reading.value for reading in outcome.readings]
    title = f"{figure.title} ({figure.floor})" if figure.floor else figure.title
    if outcome.error or not values:
        return (title, f"error: {outcome.error}"[:60] if outcome.error else "-", "", "", "", "", "")
    met = {True: "yes", False: "NO", None: ""}[outcome.is_met]
    return (
        title,
        f"{number(outcome.value)} {figure.unit}",
        f"{number(min(values))}–{number(max(values))}" if len(values) > 1 else "",
        "" if outcome.floor is None else number(outcome.floor),
        _ratio(outcome),
        "" if figure.target is None else figure.target.text(figure.unit),
        met,
    )


def _ratio(outcome: Outcome) -> str:
    """The ratio; where many readings have an interval, with it and with one more digit."""
    if outcome.ratio is None:
        return ""
    if outcome.interval is None or len(outcome.readings) < MANY:
        return f"{outcome.ratio:.2f}"
    low, high = outcome.interval
    return f"{outcome.ratio:.3f} ({low:.3f}–{high:.3f})"
