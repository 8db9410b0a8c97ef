"""The words of `doctor`: findings, their levels, and how numbers are worded. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

NAMED = 5
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    Attributes:
        check: The check's name.
        level: How bad it is.
        seen: What was seen: one line, with numbers.
        remedy: What can be done, in one line; empty where nothing has to be.
    """

    check: str
    level: Level
    seen: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.level}: {self.check}: {self.seen}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What all checks have found.

    Attributes:
        at: When this was so, by Redis's clock.
        findings: One a check, in their order.
    """

    at: datetime | None
    findings: tuple[Finding, ...]

    def of(self, level: Level) -> tuple[Finding, ...]:
        """The findings of a level."""
        return tuple(one for one in self.findings if one.level is level)

    @property
    def is_sound(self) -> bool:
        """Whether there is no fault."""
        return not self.of(Level.FAULT)

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))


def size(number: float) -> str:
    """Bytes for people: ``812 B``, ``1.2 MiB``."""
    for unit in _UNITS[:-1]:
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:,.3g} {_UNITS[-1]}"


def named(names: Sequence[str]) -> str:
    """Some names, and how many more."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
