"""The findings of `doctor`, their levels, and the text forms of numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

NAMED = 5
NAME_MOST = 400
"""Characters of a name; a foreign client may have written a longer one."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


Kind = Literal["queue", "worker", "child", "function", "job", "cron"]


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing that a finding is about, so that a page can link to it.

    Attributes:
        kind: ``queue``, ``worker``, ``child``, ``function``, ``job`` or ``cron``, a recurring job.
        name: Its name, or its id.
    """

    kind: Kind
    name: str


def things(kind: Kind, names: Iterable[str]) -> tuple[Thing, ...]:
    """The first things, as many as `named` names."""
    return tuple(Thing(kind, name) for name in list(names)[:NAMED])


@dataclass(frozen=True, slots=True)
class Finding:
    """The finding of one check.

    Attributes:
        check: The name of the check.
        level: The severity.
        seen: The observation: one line, with numbers.
        remedy: What to do, in one line; empty when nothing has to be done.
        about: The things that `seen` and `remedy` name, the first few of them.
    """

    check: str
    level: Level
    seen: str
    remedy: str = ""
    about: Sequence[Thing] = ()

    def __str__(self) -> str:
        return f"{self.level}: {self.check}: {self.seen}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings of all checks.

    Attributes:
        at: The time of the checkup, by the clock of Redis.
        findings: One finding per check, in the order of the checks.
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
    """A number of bytes as text: ``812 B``, ``1.2 MiB``."""
    for unit in _UNITS[:-1]:
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:,.3g} {_UNITS[-1]}"


def named(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED
    first = (name if len(name) <= NAME_MOST else f"{name[:NAME_MOST]}…" for name in names[:NAMED])
    return ", ".join(first) + (f" and {more:,} more" if more > 0 else "")
