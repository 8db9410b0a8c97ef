"""Output: aligned tables for people, JSON and bare ids for programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

import click

from jobfleet.clock import STEPS, local

NARROW = 100
"""A terminal with fewer columns is narrow: ids are short there, and titles too."""
LEAST_WIDTH = 30
"""Columns below which sentences are not broken."""
LAST = 12
"""Width that the last column of a table keeps, in characters, before other columns are left out or cut."""
CUT_LEAST = 10
"""Width that an elastic column keeps."""
EMPTY = frozenset({"", "-", "0"})
"""Cells that say nothing."""
_UNPRINTABLE = re.compile(r"[^\n\t -~]")
_OWN_STYLE = re.compile(r"(\x1b\[(?:[012]|3[0-7]|9[0-7])m)")
"""The escape sequences that `styled` writes: colours, bold, dim and their end."""


class Cell(NamedTuple):
    """A text with a colour."""

    text: str
    color: str | None = None


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: Its title.
        is_number: Whether it is aligned to the right.
        is_elastic: Whether it may be cut in a table that is wider than the terminal.
        is_spare: Whether such a table may go without it.
    """

    title: str
    is_number: bool = False
    is_elastic: bool = False
    is_spare: bool = False


class Output:
    """Prints results.

    Args:
        form: ``table``, ``json`` or ``ids``.
        no_color: Whether the settings turn colours off. The variable NO_COLOR does, too.
    """

    def __init__(self, form: str = "table", *, no_color: bool = False) -> None:
        self.form = form
        self.is_terminal = sys.stdout.isatty()
        plain_terminal = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self.has_color = self.is_terminal and not no_color and not plain_terminal

    @property
    def is_narrow(self) -> bool:
        """Whether the output is a narrow terminal."""
        return self.is_terminal and shutil.get_terminal_size().columns < NARROW

    def show(self, *, data: object, ids: Iterable[str], text: str) -> None:
        """Print one result in the requested form."""
        if self.form == "json":
            self.line(to_json(data, indent=2))
        elif self.form == "ids":
            for each in ids:
                self.line(plain(each))
        elif text:
            self.line(text)

    def line(self, text: str) -> None:
        """Print one or several lines. Control characters are escaped, except the colours of `styled`."""
        if not text.isprintable():
            parts = _OWN_STYLE.split(text) if self.has_color else [text]
            text = "".join(part if number % 2 else harmless(part) for number, part in enumerate(parts))
        click.echo(text, color=self.has_color)

    def styled(self, text: str, color: str | None) -> str:
        """Colour a text if colours are on; ``dim`` counts as a colour."""
        if not color or not self.has_color:
            return text
        return click.style(text, dim=True) if color == "dim" else click.style(text, fg=color)

    def wrapped(self, text: str, *, indent: int) -> str:
        """Break a sentence between words to fit a terminal; for a file or a pipe it stays one line.

        Args:
            text: The sentence, which begins at column `indent`.
            indent: Columns before each further line.
        """
        width = shutil.get_terminal_size().columns - indent if self.is_terminal else 0
        if width < LEAST_WIDTH or len(text) <= width:
            return text
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
        return f"\n{' ' * indent}".join(lines)

    def table(
        self, titles: Sequence[Column | str], rows: Sequence[Sequence[Cell | str]], *, columns: int | None = None
    ) -> str:
        """Align rows below titles, two spaces apart. On a terminal the last column is cut to fit.

        If that is not enough, columns without any value are left out, then spare columns, and elastic ones are cut.

        Args:
            titles: Titles of the columns.
            rows: Rows of cells.
            columns: Width of the table in characters; default that of the terminal, if there is one.
        """
        heads = [title if isinstance(title, Column) else Column(title) for title in titles]
        lines = [[Cell(head.title, "dim") for head in heads], *([_cell(each) for each in row] for row in rows)]
        if columns is None and self.is_terminal:
            heads, lines = _fitted(heads, lines, shutil.get_terminal_size().columns)
        widths = _widths(lines)
        room = None
        if columns or self.is_terminal:
            room = (columns or shutil.get_terminal_size().columns) - sum(widths[:-1]) - 2 * (len(heads) - 1)
        return "\n".join(self._line(line, heads, widths, room) for line in lines)

    def _line(self, row: Sequence[Cell], heads: Sequence[Column], widths: Sequence[int], room: int | None) -> str:
        parts = []
        for index, (cell, head, wide) in enumerate(zip(row, heads, widths, strict=True)):
            is_last = index == len(row) - 1
            text = clip(cell.text, max(10, room)) if is_last and room is not None else cell.text
            pad = " " * (wide - width(text))
            shown = self.styled(text, cell.color)
            parts.append(pad + shown if head.is_number else shown + ("" if is_last else pad))
        return "  ".join(parts).rstrip()

    def details(self, pairs: Iterable[tuple[str, Cell | str]]) -> str:
        """One line per name and value; pairs without a value are left out."""
        kept = [(name, cell) for name, cell in ((name, _cell(each)) for name, each in pairs) if cell.text]
        wide = max((len(name) for name, _ in kept), default=0)
        return "\n".join(f"{self.styled(f'{name:<{wide}}', 'dim')}  {self.styled(*cell)}" for name, cell in kept)


class Hours:
    """Times of day for the lines of a stream. A line with the date and the zone comes first, and when the day changes.

    Args:
        output: Prints that line.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._day: tuple[date, str] | None = None

    def at(self, moment: datetime) -> str:
        """The time of day in the local zone, after a line with its date where that has changed."""
        day, time, zone = clock(moment).split(" ")
        here = (date.fromisoformat(day), zone)
        if here != self._day:
            self._day = here
            self._output.line(self._output.styled(f"{here[0]:%a} {day} {zone}", "dim"))
        return time


def _cell(value: Cell | str) -> Cell:
    return Cell(plain(value.text), value.color) if isinstance(value, Cell) else Cell(plain(value))


def _widths(lines: Sequence[Sequence[Cell]]) -> list[int]:
    return [max(width(cell.text) for cell in column) for column in zip(*lines, strict=True)]


def _fitted(heads: list[Column], lines: list[list[Cell]], columns: int) -> tuple[list[Column], list[list[Cell]]]:
    """Leave out columns without any value, then spare ones, then cut elastic ones, as far as the width requires it."""
    if _excess(lines, columns) <= 0:
        return heads, lines
    last = len(heads) - 1
    kept = [
        place
        for place in range(len(heads))
        if place in (0, last) or any(row[place].text not in EMPTY for row in lines[1:])
    ]
    heads, lines = [heads[place] for place in kept], [[row[place] for place in kept] for row in lines]
    for head in [head for head in heads if head.is_spare]:
        if _excess(lines, columns) > 0:
            place = heads.index(head)
            heads, lines = heads[:place] + heads[place + 1 :], [row[:place] + row[place + 1 :] for row in lines]
    elastic = [place for place, head in enumerate(heads) if head.is_elastic]
    for place in sorted(elastic, key=_widths(lines).__getitem__, reverse=True):
        room = max(CUT_LEAST, _widths(lines)[place] - max(0, _excess(lines, columns)))
        lines = [
            [*row[:place], row[place]._replace(text=clip(row[place].text, room)), *row[place + 1 :]] for row in lines
        ]
    return heads, lines


def _excess(lines: Sequence[Sequence[Cell]], columns: int) -> int:
    """By how many characters a table is too wide, with a short last column."""
    *widths, last = _widths(lines)
    return sum(widths) + 2 * len(widths) + min(last, LAST) - columns


def say(text: str) -> None:
    """Print one line to stderr."""
    click.echo(plain(text), err=True)


def agreed(question: str, *, yes: bool) -> bool:
    """Ask before something is destroyed; anything but yes means no."""
    if yes:
        return True
    click.echo(f"{plain(question)} [y/N] ", err=True, nl=False)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    if answer.strip().lower() in {"y", "yes"}:
        return True
    say("Nothing was changed; answer y, or use --yes.")
    return False


def plain(text: str) -> str:
    """Make a text safe for one line of a terminal: characters that are not printable become escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def harmless(text: str) -> str:
    """Make a text safe for a terminal, like `plain`, but keep line breaks and tabs."""
    return _UNPRINTABLE.sub(lambda found: plain(found[0]), text)


def plain_lines(text: str) -> str:
    """Like `plain` for each line of a text."""
    return "\n".join(plain(line.expandtabs()) for line in text.splitlines())


def to_json(value: object, *, indent: int | None = None) -> str:
    """Write JSON; control characters become escapes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    if text.isprintable():
        return text
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0].isprintable() else _json_escape(found[0]), text)


def age(seconds: float) -> str:
    """A duration for a narrow column: '12 s', '3 min', '4 h', '2 d'."""
    whole = max(0, int(seconds))
    for large, large_name, _, _ in STEPS:
        if whole >= large:
            return f"{whole // large} {large_name}"
    return f"{whole} s"


def since(moment: datetime | None, now: datetime) -> str:
    """The age of a moment for a narrow column; a dash for None."""
    return age((now - moment).total_seconds()) if moment else "-"


def from_now(now: datetime, moment: datetime | None) -> str:
    """A time for a narrow column: 'in 3 h', '5 min ago'; empty for None."""
    if moment is None:
        return ""
    left = (moment - now).total_seconds()
    return f"in {age(left)}" if left > 0 else f"{age(-left)} ago"


def clock(moment: datetime | None) -> str:
    """A time in the local zone with its offset; empty for None. All tables and sentences show times in this form."""
    return local(moment) if moment else ""


def shortly(moment: datetime | None, now: datetime) -> str:
    """A time in the local zone for a narrow column: that of the day, with the date if that is another day."""
    if moment is None:
        return "-"
    here = moment.astimezone()
    return f"{here:%H:%M:%S}" if here.date() == now.astimezone().date() else f"{here:%Y-%m-%d %H:%M}"


def both(moment: datetime | None) -> str:
    """A time in the local zone, and how far away it is: '… 14:03:22 +01:00 (in 3 h)'; empty for None."""
    return f"{clock(moment)} ({from_now(datetime.now(UTC), moment)})" if moment else ""


def paused_by(who: str | None, reason: str = "") -> str:
    """A pause in words, with its author and its reason where they are known."""
    words = f"paused by {who}" if who and who != "-" else "paused"
    return f"{words} ({reason})" if reason else words


def count(number: int, thing: str) -> str:
    """A number with its noun: '1 job', '1,234 jobs'."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def width(text: str) -> int:
    """Width of a printable text in a terminal, in columns."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def clip(text: str, room: int) -> str:
    """Cut a text to at most `room` columns."""
    if width(text) <= room:
        return text
    while text and width(text) > room - 1:
        text = text[: -max(1, (width(text) - room) // 2)]
    return f"{text.rstrip()}…"


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode() if char != "\\" else char


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
