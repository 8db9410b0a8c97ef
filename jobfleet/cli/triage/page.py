"""The screen of a triage as lines of a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from jobfleet.cli.output import Cell, Output, clip, clock, count, from_now, plain, plain_lines, width
from jobfleet.cli.terminal.frame import Frame, scrolled
from jobfleet.cli.terminal.lines import folded, foot_lines, help_lines, hints, page_of
from jobfleet.cli.triage.press import KEYS
from jobfleet.cli.triage.state import Seen, State, summary
from jobfleet.cli.view import arguments_text, history_of

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
