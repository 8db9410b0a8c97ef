"""Limits that functions declare in code, with ``@job(concurrency=…, rate=…)``: their places, and their record. Pure.

Redis keeps the declarations of a queue in one text, one line per place: the line of the limit, the functions with a
comma between them, and the place. ``lua/lib/group/declared.lua`` reads and writes the same lines.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from jobfleet.model.group import EVERY_GROUP
from jobfleet.model.limit import Limit, LimitChange

LIMIT = "limit"
OWN = "own"
"""The beginning of the names of the fields that keep what an operator has set where functions declare a limit."""
_LINE = re.compile(r"(\S+ \S+ \S+ \S+ \S+) (\S+) ([^\n]+)")


def field_of(group: str | None) -> str:
    """Return the place of the limit of a group, or of the queue itself: the name of its field."""
    return LIMIT if group is None else f"{LIMIT}:{group}"


def own_field_of(group: str | None) -> str:
    """Return the name of the field that keeps what an operator has set, if functions declare a limit there too."""
    return OWN if group is None else f"{OWN}:{group}"


class DeclaredLimit(NamedTuple):
    """A limit that a function declares.

    Attributes:
        queue: The queue of the function.
        group: The group that it limits; `EVERY_GROUP` for each group, None for the whole queue.
        concurrency: The most jobs that run at once.
        rate: The most jobs that start per period.
    """

    queue: str
    group: str | None
    concurrency: int | None = None
    rate: str | None = None

    @property
    def limit(self) -> Limit:
        """The limit as Redis keeps it.

        Raises:
            InvalidJob: A value is wrong.
        """
        return LimitChange(concurrency=self.concurrency, rate=self.rate).limit()

    @property
    def place(self) -> str:
        """What it limits, in words."""
        if self.group is None:
            return f"the whole queue {self.queue!r}"
        if self.group == EVERY_GROUP:
            return f"each group of the queue {self.queue!r}"
        return f"the group {self.group!r} of the queue {self.queue!r}"

    def __str__(self) -> str:
        return declared_text(self.concurrency, self.rate)


class Declaration(NamedTuple):
    """The limit that functions declare for one place of a queue.

    Attributes:
        limit: The limit.
        functions: The functions.
    """

    limit: Limit
    functions: tuple[str, ...]


def declarations_of(text: str) -> dict[str, Declaration]:
    """The declarations of a queue by their places; a line that cannot be read is left out."""
    return {
        place: Declaration(Limit.parse(line), tuple(functions.split(",")))
        for line, functions, place in _LINE.findall(text)
    }


def declared_text(concurrency: float | None, rate: str | None) -> str:
    """A declared limit in words."""
    parts = [] if concurrency is None else [f"{concurrency:,} at once"]
    return ", ".join([*parts, rate] if rate else parts)
