"""`jobfleet dead triage`: walk through the groups of dead letters on a terminal, and decide about each."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option
from jobfleet.cli.output import Cell, Output, clip, clock, count, from_now, plain, plain_lines, say, width
from jobfleet.cli.terminal import (
    Extent,
    Frame,
    FullScreen,
    Step,
    folded,
    foot_lines,
    help_lines,
    hints,
    is_drawable,
    page_of,
    run,
    scrolled,
    stale_since,
)
from jobfleet.cli.terminal import moved as moved_scroll
from jobfleet.cli.view import arguments_text, history_of
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable, UnknownGroup

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.dead_groups import DeadGroup
    from jobfleet.operations.jobs.listing import Letter


EVERY_S = 2.0
"""Time between two reads of the group that is shown, in seconds."""


@click.command(cls=Command)
@click.option("--queue", metavar="NAME", help="Only dead letters of this queue.")
@click.option("--all", "every", is_flag=True, help="Also groups that are resolved or ignored.")
@by_option
@click.pass_obj
def triage(invocation: Invocation, queue: str | None, every: bool, by: str | None) -> int:
    """Walk through the groups on a terminal: see the traceback, and replay, rescue, resolve or ignore each.

    Regressed groups come first, then new ones. A rescue concerns the group in all queues. Each decision is asked
    first. ? shows the keys, q quits; then it prints what was decided.
    """
    output = invocation.output
    if not is_drawable(output) or not sys.stdin.isatty():
        raise click.UsageError("Triage requires a terminal; 'dead groups' lists the groups for programs.")
    with invocation.fleet() as fleet:
        groups = groups_of(fleet, queue, every=every)
        if not groups:
            say("No dead letters to decide about.")
            return fail.DONE
        shown = Triage(fleet, output, [row.fingerprint for row in groups], queue, by)
        shown.read()
        try:
            with FullScreen() as screen:
                run(screen, shown, every=EVERY_S)
        except KeyboardInterrupt:
            output.line(summary(shown.state))
            raise
    output.line(summary(shown.state))
    return fail.DONE


class Triage:
    """Connects the state of a triage with a fleet.

    Args:
        fleet: The fleet.
        output: Decides whether there are colours.
        groups: The fingerprints, in the order of the walk.
        queue: Only letters of this queue; None for all.
        by: The person, for the record.

    Attributes:
        state: The state of the screen.
        is_stale: Whether another group is shown than was read.
    """

    def __init__(self, fleet: Fleet, output: Output, groups: Sequence[str], queue: str | None, by: str | None) -> None:
        self._fleet = fleet
        self._output = output
        self._queue = queue
        self._by = by
        self._seen = Seen()
        self._at = datetime.now(UTC)
        self._extent = Extent(1)
        self._trouble = ""
        self.state = State(groups)
        self._act: Act | None = None
        self.is_stale = False

    @property
    def is_due(self) -> bool:
        """Whether an act is to be done."""
        return self._act is not None

    def read(self) -> None:
        """Read the group. While Redis does not answer, keep what was read last, with its time and the reason."""
        self.is_stale = False
        try:
            self._seen = read(self._fleet, self.state.fingerprint, self._queue)
            self._at, self._trouble = datetime.now(UTC), ""
        except StoreUnavailable as error:
            self._trouble = stale_since(self._at, error, self._fleet.store.at.shown)

    def frame(self, columns: int, rows: int) -> Sequence[str]:
        """The screen for this size of the terminal."""
        now = datetime.now(UTC)
        drawn = frame(self._output, self.state, self._seen, now, columns=columns, rows=rows, trouble=self._trouble)
        self._extent = drawn.extent
        return drawn.lines

    def press(self, key: str) -> bool:
        """Press a key; return whether this ends the command."""
        step = press(self.state, key, self._seen, self._extent)
        is_same = step.state.place == self.state.place
        self.state, self._act, self.is_stale = step.state, step.act, not is_same
        return step.is_over

    def act(self) -> None:
        """Do what was decided, and go to the next group."""
        if self._act is not None:
            self.state = ended(self.state, self._act, do(self._fleet, self._act, self._queue, self._by))
            self._act, self.is_stale = None, True


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


KEYS = (
    ("r", "replay all letters of the group"),
    ("c", "rescue: replay a canary, then the rest; it stops by itself"),
    ("v", "resolve: the cause is removed"),
    ("i", "ignore: send no more notifications"),
    ("s n", "skip: go to the next group"),
    ("b p", "go back to the previous group"),
    ("j k ↑ ↓", "scroll the traceback"),
    ("q", "quit"),
)
NOTHING_DONE = "Nothing was changed."
_VERBS = {"r": Verb.REPLAY, "c": Verb.RESCUE, "v": Verb.RESOLVE, "i": Verb.IGNORE}
_SCROLLS = {"j": 1, "down": 1, "k": -1, "up": -1}
_PAGES = {"page-down": 1, " ": 1, "page-up": -1}


def press(state: State, key: str, seen: Seen, extent: Extent) -> Step[State, Act]:
    """Press a key.

    Args:
        state: The state before.
        key: The key; see `KeyReader`.
        seen: What the screen shows.
        extent: How much of it.
    """
    if state.asks is not None:
        done = state.asks if key in {"y", "Y"} else None
        return Step(replace(state, asks=None, message=done.begun if done else NOTHING_DONE), done)
    if state.is_help:
        return Step(replace(state, is_help=False), is_over=key in {"q", "Q"})
    state = replace(state, message="")
    if key in {"q", "Q"}:
        return Step(state, is_over=True)
    if key == "?":
        return Step(replace(state, is_help=True))
    if key in _VERBS:
        return Step(_asked(state, _VERBS[key], seen))
    if key in {"s", "n"}:
        return Step(_skipped(state))
    if key in {"b", "p"}:
        return Step(moved(state, -1))
    lines = _SCROLLS.get(key, 0) + _PAGES.get(key, 0) * extent.room
    return Step(replace(state, scroll=moved_scroll(state.scroll, lines, extent)))


def _asked(state: State, verb: Verb, seen: Seen) -> State:
    group = seen.group
    if group is None or group.fingerprint != state.fingerprint:
        return replace(state, message="There is no group here.")
    number = seen.letters if verb is Verb.REPLAY else group.count
    if not number and verb in {Verb.REPLAY, Verb.RESCUE}:
        return replace(state, message="The group has no dead letters any more.")
    return replace(state, asks=Act(verb, group.fingerprint, number))


def _skipped(state: State) -> State:
    fingerprint = state.fingerprint
    if fingerprint is None:
        return state
    after = moved(state, 1)
    return after if fingerprint in state.marks else marked(after, fingerprint, SKIPPED)


COLORS = {"new": "yellow", "regressed": "red"}
HINTS = (
    ("r", "replay"), ("c", "rescue"), ("v", "resolve"), ("i", "ignore"), ("s", "skip"), ("b", "back"),
    ("j/k", "scroll"),
)  # fmt: skip
END_HINT = "? help  q quits"
ARGUMENTS_LENGTH = 1000


def frame(
    output: Output, state: State, seen: Seen, now: datetime, *, columns: int, rows: int, trouble: str = ""
) -> Frame:
    """Draw a group, or the end.

    Args:
        output: Decides whether there are colours.
        state: The state.
        seen: What was read of the group.
        now: Current time.
        columns: Width of the terminal, in characters.
        rows: Height of the terminal, in lines.
        trouble: The reason why the screen is stale; empty if it is not.
    """
    head = [_top(output, state, columns), output.styled(clip(plain(trouble), columns), "red"), ""]
    foot = foot_lines(output, _foot(state, columns), columns=columns, rows=rows)
    room = max(1, rows - len(head) - len(foot))
    part = scrolled(_body(output, state, seen, now, columns), state.scroll, room)
    head[1] = head[1] or output.styled(part.where, "dim")
    return Frame(page_of(head, part.lines, foot, columns=columns, rows=rows), part.extent)


def _body(output: Output, state: State, seen: Seen, now: datetime, columns: int) -> list[str]:
    if state.is_help:
        return help_lines(KEYS, columns)
    if state.fingerprint is None:
        lines = [f"All {count(len(state.groups), 'group')} are seen." if len(state.groups) > 1 else "That was all."]
        return [*lines, summary(state), "", "q quits, b goes back."]
    if seen.group is None or seen.group.fingerprint != state.fingerprint:
        return ["Nothing is known about this group any more."]
    return [part for line in _group_lines(output, state, seen, now) for part in folded(line, columns)]


def _group_lines(output: Output, state: State, seen: Seen, now: datetime) -> Iterator[str]:
    """A group: what it is, and one of its letters with the traceback."""
    group, letter = seen.group, seen.letter
    if group is None:
        return
    pairs: list[tuple[str, Cell | str]] = [
        ("group", group.fingerprint),
        ("state", Cell(f"{group.state}{f' by {group.by}' if group.by else ''}", COLORS.get(group.state))),
        ("decision", state.marks.get(group.fingerprint, "")),
        ("letters", f"{seen.letters:,}" + (f" of {group.count:,}" if seen.letters != group.count else "")),
        ("function", group.function),
        ("error", Cell(group.error_text, "red")),
        ("first", _when(group.first, now)),
        ("last", _when(group.last, now)),
        ("versions", ", ".join(group.versions) if len(group.versions) > 1 else ""),
        ("rescue", group.rescue),
        ("example", letter.job.id if letter is not None else ""),
    ]
    if letter is not None and letter.args is not None and letter.kwargs is not None:
        pairs.append(("arguments", clip(arguments_text(letter.args, letter.kwargs), ARGUMENTS_LENGTH)))
    yield from output.details(pairs).splitlines()
    if letter is None:
        return
    if letter.job.traceback:
        yield ""
        yield from plain_lines(letter.job.traceback.rstrip()).splitlines()
    if letter.history:
        yield from ("", "history:", *(f"  {line}" for line in history_of(letter.history)))


def _when(moment: datetime | None, now: datetime) -> str:
    return f"{clock(moment)}  ({from_now(now, moment)})" if moment else ""


def _top(output: Output, state: State, columns: int) -> str:
    place = min(state.place + 1, len(state.groups))
    text = clip(f"dead letters  group {place:,} of {len(state.groups):,}", columns - len(END_HINT) - 2)
    return output.styled(f"{text}{' ' * max(2, columns - width(text) - len(END_HINT))}{END_HINT}", "dim")


def _foot(state: State, columns: int) -> Cell:
    """The text at the bottom: a question, the outcome of the last key, or the keys."""
    if state.asks is not None:
        return Cell(f"{state.asks.question} y/N", "yellow")
    return Cell(plain(state.message)) if state.message else Cell(hints(HINTS, columns), "dim")


CHUNK = 200
ORDER = {"regressed": 0, "new": 1, "known": 2, "resolved": 3, "ignored": 4}
DECIDED = frozenset({"resolved", "ignored"})


def groups_of(fleet: Fleet, queue: str | None, *, every: bool) -> list[DeadGroup]:
    """The groups that have letters: regressed ones first, then new ones, those with most letters first.

    Args:
        fleet: The fleet.
        queue: Only groups with letters of this queue; None for all.
        every: Also groups that are resolved or ignored.
    """
    found: list[DeadGroup] = []
    cursor = ""
    while True:
        page = fleet.dead_groups(queue, limit=CHUNK, cursor=cursor)
        found += [row for row in page if row.count and (every or row.state not in DECIDED)]
        cursor = page.cursor
        if not cursor:
            return sorted(found, key=lambda row: (ORDER[row.state], -row.count))


def read(fleet: Fleet, fingerprint: str | None, queue: str | None) -> Seen:
    """Read a group, and its newest letter of a queue.

    Raises:
        StoreUnavailable: Redis is unreachable.
    """
    if fingerprint is None:
        return Seen()
    try:
        group = fleet.dead_group(fingerprint)
    except UnknownGroup:
        return Seen()
    number = fleet.count_dead(queue, fingerprint=fingerprint) if queue is not None else group.count
    newest = fleet.dead(queue, fingerprint=fingerprint, limit=1) if number else []
    try:
        return Seen(group, fleet.letter(newest[0].id) if newest else None, number)
    except JobNotFound:  # it was replayed meanwhile
        return Seen(group, None, number)


def do(fleet: Fleet, act: Act, queue: str | None, by: str | None) -> Outcome:
    """Do what was decided about a group."""
    try:
        return _done(fleet, act, queue, by)
    except JobfleetError as error:
        return Outcome(str(error), is_done=False)


def _done(fleet: Fleet, act: Act, queue: str | None, by: str | None) -> Outcome:
    group = act.fingerprint
    if act.verb is Verb.REPLAY:
        number = fleet.replay_many(queue, fingerprint=group, by=by)
        return Outcome(f"{group}: {count(number, 'dead letter')} replayed.", replayed=number)
    if act.verb is Verb.RESCUE:
        return Outcome(f"Rescue {fleet.rescue(group, by=by).id} of {group} is begun; 'jobfleet dead rescues' shows it.")
    change = fleet.resolve if act.verb is Verb.RESOLVE else fleet.ignore
    state = "resolved" if act.verb is Verb.RESOLVE else "ignored"
    return Outcome(f"{group} is {state}." if change(group, by=by) else f"{group} was {state} before.")
