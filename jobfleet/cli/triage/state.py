"""The state of a triage: which group is shown, and what was decided about each. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.cli.output import count

if TYPE_CHECKING:
    from jobfleet.operations.dead.groups import DeadGroup
    from jobfleet.operations.jobs.matching.listing import Letter


class Verb(StrEnum):
    """What can be decided about a group."""

    REPLAY = "replay"
    RESCUE = "rescue"
    RESOLVE = "resolve"
    IGNORE = "ignore"


SKIPPED = "skipped"
PAST = {Verb.REPLAY: "replayed", Verb.RESCUE: "rescue begun", Verb.RESOLVE: "resolved", Verb.IGNORE: "ignored"}
_QUESTIONS = {
    Verb.REPLAY: "Replay {letters}?",
    Verb.RESCUE: "Rescue {letters}: 1, then 10, then the rest, and stop at a failure?",
    Verb.RESOLVE: "Is the cause of {letters} removed?",
    Verb.IGNORE: "Ignore this group of {letters}: no more notifications?",
}


class Act(NamedTuple):
    """A decision about a group, and the number of its letters when it was asked for."""

    verb: Verb
    fingerprint: str
    letters: int

    @property
    def question(self) -> str:
        """What is asked before."""
        return _QUESTIONS[self.verb].format(letters=count(self.letters, "dead letter"))

    @property
    def begun(self) -> str:
        """What is shown while it is done."""
        return f"{self.verb.capitalize()} {count(self.letters, 'dead letter')} …"


class Outcome(NamedTuple):
    """The outcome of an act as a sentence, whether it succeeded, and how many letters it replayed."""

    message: str
    is_done: bool = True
    replayed: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """What the screen shows.

    Attributes:
        groups: The fingerprints, in the order of the walk.
        place: The place of the group that is shown; behind the last one at the end.
        scroll: The first line that is shown of the group.
        asks: What waits for a yes.
        message: The outcome of the last key.
        is_help: Whether the keys are shown.
        marks: What was decided, by fingerprint.
        replayed: How many letters were replayed.
    """

    groups: Sequence[str]
    place: int = 0
    scroll: int = 0
    asks: Act | None = None
    message: str = ""
    is_help: bool = False
    marks: Mapping[str, str] = field(default_factory=dict)
    replayed: int = 0

    @property
    def fingerprint(self) -> str | None:
        """The group that is shown; None at the end."""
        return self.groups[self.place] if self.place < len(self.groups) else None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of a group.

    Attributes:
        group: The group; None if it is not kept any more, and at the end.
        letter: One of its letters, with the traceback; None if it has none.
        letters: The number of its letters in the queue of the triage.
    """

    group: DeadGroup | None = None
    letter: Letter | None = None
    letters: int = 0


def moved(state: State, by: int) -> State:
    """Go to another group."""
    place = max(0, min(state.place + by, len(state.groups)))
    return replace(state, place=place, scroll=0)


def marked(state: State, fingerprint: str, mark: str) -> State:
    """Note what was decided about a group."""
    return replace(state, marks={**state.marks, fingerprint: mark})


def ended(state: State, act: Act, outcome: Outcome) -> State:
    """An act has ended: if it succeeded, the next group follows."""
    if not outcome.is_done:
        return replace(state, message=outcome.message)
    after = marked(moved(state, 1), act.fingerprint, PAST[act.verb])
    return replace(after, message=outcome.message, replayed=state.replayed + outcome.replayed)


def summary(state: State) -> str:
    """What was decided so far, in one sentence."""
    marks = Counter(state.marks.values())
    parts = [f"{count(state.replayed, 'dead letter')} replayed"] if state.replayed else []
    rescues, skipped = marks[PAST[Verb.RESCUE]], marks[SKIPPED]
    parts += [f"{count(rescues, 'rescue')} begun"] if rescues else []
    parts += [
        f"{count(marks[word], 'group')} {word}" for word in (PAST[Verb.RESOLVE], PAST[Verb.IGNORE]) if marks[word]
    ]
    parts += [f"{count(skipped, 'group')} skipped"] if skipped else []
    return f"{', '.join(parts)}." if parts else "Nothing was changed."
