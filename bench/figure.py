"""Figures, what is asked of them, and the table they end in."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


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
        measure: Measures once; a reading by the figure's key.
        rounds: How often at most; for those that take long.
    """

    name: str
    figures: Sequence[Figure]
    measure: Callable[[Any], Mapping[str, Reading]]
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
        ratios = [reading.value / reading.floor for reading in self.readings if reading.floor]
        return statistics.median(ratios) if ratios else None

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
            "target": None if target is None else target.text(self.figure.unit),
            "met": self.is_met,
            "rounds": [[reading.value, reading.floor] for reading in self.readings],
            "error": self.error,
        }


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
        "" if outcome.ratio is None else f"{outcome.ratio:.2f}",
        "" if figure.target is None else figure.target.text(figure.unit),
        met,
    )
