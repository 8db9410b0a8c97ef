"""What a job has spent of its retry budgets, and which job ends its process. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

HISTORY_RUNS = 10
HISTORY_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Tries:
    """What a job has spent of its budgets, as stored with the job.

    Attributes:
        failures: Number of failed runs.
        crashes: Number of runs whose process died while the job was alone in it.
        preemptions: Number of runs whose lease expired although the worker was alive.
        parked_since: Time at which the job was first parked, in µs of Redis's clock; 0 if it is not parked.
        deaths: Number of processes that died while the job ran in them, without evidence of the cause.
        suspects: Number of jobs that may have caused the last of these deaths, this one included; 0 if unknown.
        first_due: The due time of the first run that failed or crashed, in µs of Redis's clock; 0 if it is not known.
            Only jobs with `retry_for` keep it.
        history: One line per past run, oldest first.
    """

    failures: int = 0
    crashes: int = 0
    preemptions: int = 0
    parked_since: int = 0
    deaths: int = 0
    suspects: int = 0
    first_due: int = 0
    history: tuple[str, ...] = ()

    @property
    def attempt(self) -> int:
        """The number of the next run, from 1."""
        return self.failures + self.crashes + self.preemptions + 1

    @property
    def suspicion(self) -> Suspicion:
        """The evidence from the deaths that the job has witnessed."""
        return Suspicion(self.deaths, self.suspects)

    @property
    def last_error(self) -> str | None:
        """The ending of the last run in the history; None if there is none, or if the job was replayed since."""
        if not self.history or self.history[-1].startswith("replayed "):
            return None
        return self.history[-1].split(" ", 2)[-1]

    @classmethod
    def parse(cls, text: str) -> Tries:
        """Parse the output of `dump`; an empty text means that nothing is spent."""
        if not text:
            return FRESH
        head, _, rest = text.partition("\n")
        spent = [int(part) for part in head.split(":")[:7]]
        spent += [0] * (7 - len(spent))  # older workers do not write the last two
        failures, crashes, preemptions, parked, deaths, suspects, first_due = spent
        history = tuple(rest.split("\n")) if rest else ()
        return cls(failures, crashes, preemptions, parked, deaths, suspects, first_due, history)

    def dump(self) -> str:
        """Serialize to one text; empty if nothing is spent."""
        if self == FRESH:
            return ""
        head = f"{self.failures}:{self.crashes}:{self.preemptions}:{self.parked_since}:{self.deaths}"
        if self.suspects or self.first_due:
            head += f":{self.suspects}"
        if self.first_due:
            head += f":{self.first_due}"
        return "\n".join((head, *self.history))

    def noting(self, now_us: int, event: str) -> Tries:
        """Return a copy with one more line of history; the oldest lines are dropped."""
        line = f"{self.attempt} {now_us} {' '.join(event.split())}"[:HISTORY_CHARACTERS]
        return replace(self, history=(*self.history, line)[-HISTORY_RUNS:])

    def hiding(self, text: str) -> Tries:
        """Return a copy whose last line of history says only `text` about what happened."""
        number, at, _ = f"{self.history[-1]}  ".split(" ", 2)
        return replace(self, history=(*self.history[:-1], f"{number} {at} {text}"))


FRESH = Tries()


# Find the job that ends its process. Pure.
#
# If a process dies while several jobs run in it, any of them may be the cause. Each of these jobs has then *witnessed
# a death*. After one death a job runs as before. After two deaths it is a suspect. Suspects are split into groups,
# and each group gets its own process. A group whose process dies is split again (group testing, R. Dorfman, 1943). A
# suspect that is alone in its process is innocent if it ends; if the process dies, it is certainly the culprit.


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
