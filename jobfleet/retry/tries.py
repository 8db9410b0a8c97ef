"""What a job has spent of its retry budgets, and which job ends its process. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from jobfleet.model.life import HANDED_BACK, LIFE_LINES, PARKED, REPLAYED, events_in, line_of, merged

RUN_DIGITS = 8
"""A number of a run has fewer digits."""


class Begun(NamedTuple):
    """When and where a run began.

    Attributes:
        at_us: The time of its start in µs of Redis's clock; of a run whose process has died, that of its claim.
        child: The process that ran it.
    """

    at_us: int
    child: str


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
        history: One line per past run, oldest first, and per time that the job was parked or replayed. It begins with
            the number of the run, or its number, start and process with slashes between them, or with another word.
            What else was done to the job is in its clear record.
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
    def runs(self) -> int:
        """How many runs have ended, also those that no budget was charged with; a replay does not reset it."""
        words = (line.partition(" ")[0].partition("/")[0] for line in reversed(self.history))
        last = next((word for word in words if word.isdecimal() and len(word) < RUN_DIGITS), "0")
        return max(int(last), self.attempt - 1)

    @property
    def suspicion(self) -> Suspicion:
        """The evidence from the deaths that the job has witnessed."""
        return Suspicion(self.deaths, self.suspects)

    @property
    def last_error(self) -> str | None:
        """The ending of the last run in the history; None if there is none, or if the job was replayed since."""
        if not self.history or self.history[-1].startswith(f"{REPLAYED} "):
            return None
        text = self.history[-1].split(" ", 2)[-1]
        return None if text == HANDED_BACK else text

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

    def noting(self, now_us: int, event: str, begun: Begun | None = None) -> Tries:
        """Return a copy with the line of one more run; the oldest lines are dropped."""
        return self._with(line_of(run_word(self.runs + 1, begun), now_us, event))

    def parking(self, now_us: int, reason: str) -> Tries:
        """Return a copy that says when and why the job was parked; the oldest lines are dropped."""
        return self._with(line_of(PARKED, now_us, reason))

    def _with(self, line: str) -> Tries:
        return replace(self, history=(*self.history, line)[-LIFE_LINES:])

    def hiding(self, text: str) -> Tries:
        """Return a copy whose last line of history says only `text` about what happened."""
        number, at, _ = f"{self.history[-1]}  ".split(" ", 2)
        return replace(self, history=(*self.history[:-1], f"{number} {at} {text}"))


FRESH = Tries()


def run_word(number: int, begun: Begun | None) -> str:
    """The word with which the line of a run begins."""
    return f"{number}" if begun is None else f"{number}/{begun.at_us}/{begun.child}"


def past_fields(tries: Tries, runs: int, meta: str = "") -> dict[str, object]:
    """The fields of a result record that keep the past of a job; a job that ran once has none.

    Args:
        tries: What the job has spent, and its history.
        runs: The number of its runs, the last one included.
        meta: The clear record of a job that fails; the line of any other ending has its events.
    """
    history = list(merged(tries.history, events_in(meta)))
    return {"runs": runs, "crashes": tries.crashes, "history": history} if tries.history else {}


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
