"""Counts what simulated runs have met, prints it as tables, and tells the generator what is rare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from tests.simulation.plan import FAULTS

STATES = (
    "blocked", "scheduled", "queued", "running", "cancelling", "sleeping", "retrying", "paused", "completed", "failed",
    "cancelled", "expired",
)  # fmt: skip
"""The states in which a job can be when a fault comes. A sleeping job waits for a time or a signal; a paused one is
queued in a paused queue."""
EXPONENT = 0.7
"""How strongly what is rare is preferred: 0 not at all, 1 in proportion."""


class Coverage:
    """What was met, and how often.

    Attributes:
        scripts: Scripts with the first word of their reply.
        letters: Letters of the replies of scripts that answer one per item.
        events: Steps of jobs' lives, such as ``running → retrying``.
        pairs: Faults with the states of the jobs that existed at that moment, one per job and fault.
        faults: Faults that were carried out.
        hits: Faults of the network with the script of the exchange that they hit, and the first word of its reply where
            that was lost.
    """

    def __init__(self) -> None:
        self.scripts: Counter[tuple[str, str]] = Counter()
        self.letters: Counter[tuple[str, str]] = Counter()
        self.events: Counter[tuple[str, str]] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[str] = Counter()
        self.hits: Counter[tuple[str, str]] = Counter()

    @property
    def size(self) -> int:
        """How many different things were met."""
        return sum(len(one) for one in (self.scripts, self.letters, self.events, self.pairs, self.hits))

    def fault(self, verb: str, states: Iterable[str]) -> None:
        """Count a fault, with the states of the jobs at that moment."""
        self.faults[verb] += 1
        self.pairs.update((verb, state) for state in states)

    def add(self, other: Coverage) -> int:
        """Add what another run has met; return how much of it was new."""
        before = self.size
        for name in ("scripts", "letters", "events", "pairs", "faults", "hits"):
            getattr(self, name).update(getattr(other, name))
        return self.size - before

    def faults_by_need(self, verbs: Sequence[str]) -> list[float]:
        """Return a weight for each fault: the rarer its pairs with states are, the heavier."""
        return [
            sum((1 + self.pairs[verb, state]) ** -EXPONENT for state in STATES) / len(STATES) for verb in verbs
        ]  # fmt: skip

    def target_by_need(self, dice: Random, kind: str, targets: Sequence[str]) -> str:
        """Draw the exchange for a fault of the network: the more rarely it was hit, the likelier."""
        return dice.choices(targets, [(1 + self.hits[kind, target]) ** -EXPONENT for target in targets])[0]

    def states_by_need(self) -> dict[str, float]:
        """Return a weight for each state: the more rarely faults have met it, the heavier."""
        met = {state: sum(self.pairs[verb, state] for verb in FAULTS) for state in STATES}
        return {state: (1 + count) ** -EXPONENT for state, count in met.items()}

    def tables(self) -> str:
        """The tables, for people."""
        lines = [f"{'fault':<14} {'times':>7}  " + " ".join(f"{state[:10]:>10}" for state in STATES)]
        for verb in FAULTS:
            counts = " ".join(f"{self.pairs[verb, state]:>10}" for state in STATES)
            lines.append(f"{verb:<14} {self.faults[verb]:>7}  {counts}")
        met = sum(self.pairs[verb, state] > 0 for verb in FAULTS for state in STATES)
        lines += ["", f"{met} of {len(FAULTS) * len(STATES)} pairs of fault and state were met.", ""]
        lines += _listed("scripts and their replies", self.scripts)
        lines += _listed("letters of replies", self.letters)
        lines += _listed("steps of jobs' lives", self.events)
        lines += _listed("exchanges that faults of the network hit", self.hits)
        return "\n".join(lines)


def drawn(dice: Random, weights: Mapping[str, float]) -> str:
    """Draw a name by weight."""
    names = sorted(weights)
    return dice.choices(names, [weights[name] for name in names])[0]


def _listed(title: str, counts: Counter[tuple[str, str]]) -> list[str]:
    """All counts of a kind, one line per first word."""
    found: dict[str, list[str]] = {}
    for (first, second), count in sorted(counts.items()):
        found.setdefault(first, []).append(f"{second} {count}")
    return [f"{title} ({len(counts)}):", *(f"  {first}: {', '.join(rest)}" for first, rest in found.items()), ""]
