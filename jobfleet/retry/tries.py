"""What a job has spent of its retry budgets, and the text that stores it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jobfleet.suspicion import Suspicion

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
