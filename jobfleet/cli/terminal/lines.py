"""Lines that fit a terminal: cut, folded, and the part of a list that is on the screen. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime

from jobfleet.cli.output import Cell, Output, clip, clock, width

MARK = "> "
"""Marks the selected row of a table; other rows begin with as many spaces."""
MARGIN = len(MARK)
_STYLE = re.compile(r"(\x1b\[[0-9;]*m)")
_END = "\x1b[0m"


def folded(line: str, columns: int) -> list[str]:
    """Break a line, which may have colours, into lines of this width."""
    lines: list[str] = []
    text, room, style = "", max(1, columns), ""
    for place, part in enumerate(_STYLE.split(line)):
        if place % 2:
            text += part
            style = "" if part == _END else style + part
            continue
        for char in part:
            wide = width(char)
            if wide > room:
                lines.append(text + (_END if style else ""))
                text, room = style, max(1, columns)
            text += char
            room -= wide
    return [*lines, text]


def cropped(line: str, columns: int) -> str:
    """Cut a line, which may have colours, to this width."""
    return folded(line, columns)[0]


def window(number: int, place: int, room: int) -> range:
    """The rows of a list that are shown: `room` rows, with the row at `place` among them."""
    first = min(max(0, place - max(0, room - 1) // 2), max(0, number - room))
    return range(first, min(number, first + max(0, room)))


def page_of(head: Sequence[str], body: Sequence[str], foot: Sequence[str], *, columns: int, rows: int) -> list[str]:
    """A screen: lines at the top, lines between, and lines at the bottom, all cut to fit."""
    room = max(0, rows - len(foot))
    shown = [cropped(line, columns) for line in (*head, *body)][:room]
    return [*shown, *[""] * (room - len(shown)), *(cropped(line, columns) for line in foot)]


def foot_lines(output: Output, foot: Cell, *, columns: int, rows: int) -> list[str]:
    """The lines at the bottom: a text with as many lines as it needs, at most a quarter of the screen."""
    words = textwrap.wrap(foot.text, max(1, columns), break_on_hyphens=False) or [""]
    lines = [part for line in words for part in folded(line, columns)]
    return [output.styled(line, foot.color) for line in lines[: max(1, rows // 4)]]


def stale_since(moment: datetime, error: object, url: str) -> str:
    """Why a screen is stale and since when, in one line; without the URL of Redis, which leaves no room for it."""
    what = str(error).partition(". ")[0].replace(f" at {url}", "")
    return f"Since {clock(moment)}: {what}; trying again."


def hints(pairs: Iterable[tuple[str, str]], columns: int) -> str:
    """Keys and what they do, as many as fit a line."""
    text = ""
    for key, what in pairs:
        longer = f"{text}   {key} {what}" if text else f"{key} {what}"
        if width(longer) > columns:
            break
        text = longer
    return text


def help_lines(pairs: Iterable[tuple[str, str]], columns: int) -> list[str]:
    """Keys and what they do, one key per line."""
    return [clip(f"  {key:<12}  {what}", columns) for key, what in pairs]
