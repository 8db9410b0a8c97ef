"""The parts between a key and a screen: how a page is drawn, how much of it is shown, and what a key changes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

S = TypeVar("S")
A = TypeVar("A")


class Extent(NamedTuple):
    """How much of a page is shown.

    Attributes:
        room: Lines between the first and the last line of the screen.
        last: The largest number of lines by which it can be scrolled.
    """

    room: int
    last: int = 0


class Frame(NamedTuple):
    """A page as it is drawn, and how much of it is shown."""

    lines: list[str]
    extent: Extent


class Step(NamedTuple, Generic[S, A]):
    """What follows a key: the new state, an action to do, or the end."""

    state: S
    act: A | None = None
    is_over: bool = False


class Part(NamedTuple):
    """The part of a long text that is shown.

    Attributes:
        lines: Its lines.
        where: Which line is the first one; empty if all are shown.
        extent: How much is shown.
    """

    lines: Sequence[str]
    where: str
    extent: Extent


def scrolled(body: Sequence[str], scroll: int, room: int) -> Part:
    """Show a text from a line on, but no line behind its end."""
    last = max(0, len(body) - room)
    first = min(scroll, last)
    where = f"line {first + 1:,} of {len(body):,}" if last else ""
    return Part(body[first : first + room], where, Extent(room, last))


def moved(scroll: int, by: int, extent: Extent) -> int:
    """Scroll by some lines, within the text."""
    return max(0, min(min(scroll, extent.last) + by, extent.last))
