"""Who may have ended a process, and how few of them share one next. Pure.

A process that dies while several jobs run in it says only that one of them may have ended it. Each of
them has then *witnessed a death*. After one death a job runs as any other. After two it is a suspect:
suspects are split into groups, each in a process of its own, and a group whose process dies is split
again (group testing, R. Dorfman, 1943). A suspect that is alone in its process is either innocent, when
it ends, or the culprit with certainty, when the process dies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

SUSPECT_AT = 2
"""Witnessed deaths from which a job is a suspect: one death may come from outside, and restricts nobody."""

PARTS = 4
"""Groups into which those are split that were suspected together.

More parts need fewer deaths to find the culprit, but more processes to run all suspects side by side. The table in
docs/internals/trials.md compares 2, 4 and 8.
"""


class Suspicion(NamedTuple):
    """What the deaths that a job has witnessed say of it.

    Attributes:
        deaths: How many it has witnessed.
        suspects: How many jobs the last of them may be due to, this one included; 0 where that is unknown.
    """

    deaths: int = 0
    suspects: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether it may share its process with few others only."""
        return self.deaths >= SUSPECT_AT

    @property
    def width(self) -> int:
        """How many suspects may share a process with it, itself included."""
        return max(1, -(-self.suspects // PARTS))


NO_SUSPICION = Suspicion()


def suspicion_of(tries: str) -> Suspicion:
    """What stands in the record of a job's tries; nothing where that cannot be read."""
    fields = tries.partition("\n")[0].split(":")
    try:
        return Suspicion(int(fields[4]), int(fields[5]) if len(fields) > 5 else 0)
    except (IndexError, ValueError):
        return NO_SUSPICION


def suspects(deaths: Iterable[int], unknown: int = 0) -> Mapping[int, int]:
    """How many jobs a death may be due to as much as to one of them: those that have witnessed as many, or more.

    Args:
        deaths: How many deaths each job in the process had witnessed before this one.
        unknown: Further jobs in the process, of which nothing is known.

    Returns:
        The number for a job that had witnessed so many.
    """
    counts = Counter(deaths)
    found, total = {}, unknown
    for count in sorted(counts, reverse=True):
        total += counts[count]
        found[count] = total
    return found


def has_room(members: Iterable[Suspicion], candidate: Suspicion) -> bool:
    """Whether a suspect may share a process with those that are in it."""
    kinds = Counter(members)
    return kinds.total() < min([candidate.width, *(kind.width for kind in kinds)])


def seat(groups: Sequence[Collection[Suspicion]], candidate: Suspicion, most: int) -> int | None:
    """In which group a suspect takes part: beside those that are suspected for the same death, if it can.

    Args:
        groups: Who is in each; one may be empty.
        candidate: The suspect.
        most: How many groups there may be.

    Returns:
        Its number; the one after the last for a new group; None where it has to wait.
    """
    width = candidate.width
    open_to_it = [number for number, group in enumerate(groups) if len(group) < width and has_room(group, candidate)]
    for number in open_to_it:
        if all(member == candidate for member in groups[number]) and groups[number]:
            return number
    for number in open_to_it:
        if not groups[number]:
            return number
    if len(groups) < most:
        return len(groups)
    return open_to_it[0] if open_to_it else None
