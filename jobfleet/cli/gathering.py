"""Groups of dead letters with the same function and error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobfleet.cli.output import iso
from jobfleet.model import JobResult
from jobfleet.notify.fingerprint import normalise

_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters of one function and one error.

    Attributes:
        function: Name of the function.
        error: The error with placeholders for its variable parts.
        count: Number of dead letters.
        first: Time of the oldest one.
        last: Time of the newest one.
        example: Id of the newest one.
    """

    function: str
    error: str
    count: int
    first: datetime | None
    last: datetime | None
    example: str

    def data(self) -> dict[str, Any]:
        """The group as data for JSON."""
        return {
            "function": self.function,
            "error": self.error,
            "count": self.count,
            "first": iso(self.first),
            "last": iso(self.last),
            "example": self.example,
        }


def gather(letters: Iterable[JobResult[Any]]) -> list[Group]:
    """Group dead letters; the largest group first, among equals the one with the newest letter."""
    kinds: defaultdict[tuple[str, str], list[JobResult[Any]]] = defaultdict(list)
    for letter in letters:
        kinds[letter.function, normalise(letter.error_text)].append(letter)
    found = []
    for (function, error), members in kinds.items():
        members.sort(key=lambda one: one.completed_at or _LONG_AGO)
        first, last = members[0], members[-1]
        found.append(Group(function, error, len(members), first.completed_at, last.completed_at, last.id))
    return sorted(found, key=lambda group: (group.count, group.last or _LONG_AGO), reverse=True)
