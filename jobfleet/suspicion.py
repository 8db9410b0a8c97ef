"""Find the job that ends its process. Pure.

If a process dies while several jobs run in it, any of them may be the cause. Each of these jobs has then *witnessed a
death*. After one death a job runs as before. After two deaths it is a suspect. Suspects are split into groups, and each
group gets its own process. A group whose process dies is split again (group testing, R. Dorfman, 1943). A suspect that
is alone in its process is innocent if it ends; if the process dies, it is certainly the culprit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

SUSPECT_AT = 2
"""Number of witnessed deaths that make a job a suspect. One death may have an outside cause and has no effect."""

PARTS = 4
"""Number of groups into which the suspects of one death are split.

More groups find the culprit after fewer deaths, but need more processes to run all suspects concurrently. The table in
docs/internals/trials.md compares 2, 4 and 8.
"""


class Suspicion(NamedTuple):
    """The evidence from the deaths that a job has witnessed.

    Attributes:
        deaths: Number of witnessed deaths.
        suspects: Number of jobs that may have caused the last death, this one included; 0 if unknown.
    """

    deaths: int = 0
    suspects: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether the job may share its process with only a few others."""
        return self.deaths >= SUSPECT_AT

    @property
    def width(self) -> int:
        """Maximum number of suspects in one process with this job, itself included."""
        return max(1, -(-self.suspects // PARTS))


NO_SUSPICION = Suspicion()


def suspicion_of(tries: str) -> Suspicion:
    """Read the suspicion from the record of a job's tries; an unreadable record gives no suspicion."""
    fields = tries.partition("\n")[0].split(":")
    try:
        return Suspicion(int(fields[4]), int(fields[5]) if len(fields) > 5 else 0)
    except (IndexError, ValueError):
        return NO_SUSPICION


def suspects(deaths: Iterable[int], unknown: int = 0) -> Mapping[int, int]:
    """Count, for each number of witnessed deaths, the jobs that witnessed at least as many.

    Args:
        deaths: The number of deaths that each job in the process had witnessed before this one.
        unknown: Number of further jobs in the process about which nothing is known.

    Returns:
        The number of suspects by the number of deaths witnessed before.
    """
    counts = Counter(deaths)
    found, total = {}, unknown
    for count in sorted(counts, reverse=True):
        total += counts[count]
        found[count] = total
    return found


def has_room(members: Iterable[Suspicion], candidate: Suspicion) -> bool:
    """Whether a suspect may join a process with these members."""
    kinds = Counter(members)
    return kinds.total() < min([candidate.width, *(kind.width for kind in kinds)])


def seat(groups: Sequence[Collection[Suspicion]], candidate: Suspicion, most: int) -> int | None:
    """Choose the group for a suspect; prefer a group of suspects of the same death.

    Args:
        groups: The members of each group; one group may be empty.
        candidate: The suspect.
        most: Maximum number of groups.

    Returns:
        The group's index; `len(groups)` for a new group; None if the suspect has to wait.
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
