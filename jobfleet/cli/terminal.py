"""A terminal as a screen with keys: lines that fit, whole pages, the bytes of keys, and the loop of a screen."""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import sys
import termios
import textwrap
import tty
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from types import FrameType
from typing import Any, Generic, NamedTuple, NoReturn, Protocol, Self, TypeVar

import click

from jobfleet.cli.output import Cell, Output, clip, clock, width
from jobfleet.clock import monotonic

BYTES = 1024
ESCAPE_S = 0.05
"""How long the rest of a sequence may take after its first byte, in seconds."""
FALLBACK = os.terminal_size((80, 24))
_OPEN = b"\x1b[?1049h\x1b[?25l"
"""The second screen of the terminal, without a cursor."""
_CLOSE = b"\x1b[0m\x1b[?25h\x1b[?1049l"
_DEADLY = (
    signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM,
    signal.SIGPROF, signal.SIGXCPU, signal.SIGABRT,
)  # fmt: skip
"""Signals that end a process which does not handle them, and that may be sent from outside."""
Handler = Callable[[int, FrameType | None], Any] | int | None


def is_drawable(output: Output) -> bool:
    """Whether a person watches the output on a terminal that can move its cursor."""
    has_cursor = os.environ.get("TERM") not in {None, "dumb", "unknown"}
    return output.is_terminal and output.form == "table" and has_cursor


class FullScreen(AbstractContextManager["FullScreen"]):
    """Draws on the second screen of the terminal, and reads single keys without echo.

    The terminal is restored when the block ends, when a signal ends the process, and while the process is stopped.
    Ctrl-C keeps its meaning. Without a terminal on stdin there are no keys.
    """

    def __init__(self) -> None:
        self._in = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._out = sys.stdout.fileno()
        self._reader = KeyReader()
        self._modes: list[Any] | None = None
        self._is_open = False
        self._drawn: tuple[str, ...] = ()
        self._handlers: dict[signal.Signals, Handler] = {}
        self._wake, self._woken = -1, -1
        self._wakeup_before = -1

    @property
    def size(self) -> os.terminal_size:
        """The current width and height of the terminal, in characters."""
        try:
            size = os.get_terminal_size(self._out)
        except OSError:  # the terminal is closed
            return FALLBACK
        return size if size.columns and size.lines else FALLBACK

    def draw(self, lines: Sequence[str]) -> None:
        """Draw all lines of the screen. A line must fit its width."""
        frame = tuple(lines)
        if frame != self._drawn:
            self._drawn = frame
            self._write(("\x1b[H" + "\r\n".join(f"\x1b[K{line}\x1b[0m" for line in frame) + "\x1b[J").encode())

    def wait(self, within: float) -> list[str]:
        """Wait for keys, for some seconds; return none if there are none, or if the screen has to be drawn again.

        Raises:
            click.Abort: The terminal is closed.
        """
        sources = [self._wake, *([] if self._in is None else [self._in])]
        ready, _, _ = select.select(sources, [], [], max(0.0, within))
        if self._wake in ready:
            with suppress(BlockingIOError):
                os.read(self._wake, BYTES)
            self._drawn = ()
        if self._in not in ready or self._in is None:
            return []
        keys = self._read(self._in)
        while self._reader.is_unfinished:
            rest, _, _ = select.select([self._in], [], [], ESCAPE_S)
            keys += self._read(self._in) if rest else self._reader.flush()
        return keys

    def _read(self, source: int) -> list[str]:
        try:
            data = os.read(source, BYTES)
        except OSError:
            data = b""
        if not data:
            raise click.Abort
        return self._reader.feed(data)

    def __enter__(self) -> Self:
        if self._in is not None:
            self._modes = termios.tcgetattr(self._in)
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        self._wakeup_before = signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in _DEADLY:
            self._handle(number, self._end)
        self._handle(signal.SIGINT, self._interrupt)
        self._handle(signal.SIGTSTP, self._stop)
        self._handle(signal.SIGCONT, self._continue)
        self._handle(signal.SIGWINCH, _draw_again)
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._wake)
        os.close(self._woken)

    def _handle(self, number: signal.Signals, handler: Callable[[int, FrameType | None], Any]) -> None:
        """Handle a signal, unless the process was started to ignore it."""
        before = signal.getsignal(number)
        if before not in {None, signal.SIG_IGN}:
            self._handlers[number] = before
            signal.signal(number, handler)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        """Restore the terminal, and die of the signal."""
        self._close()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> NoReturn:
        self._close()
        raise KeyboardInterrupt

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Restore the terminal for the shell, stop, and take it again."""
        self._close()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)  # the process stops here
        signal.signal(number, self._stop)
        self._open()

    def _continue(self, _number: int, _frame: FrameType | None) -> None:
        """After a stop that gave no chance to restore the terminal, the shell has done it."""
        self._open()

    def _open(self) -> None:
        self._is_open = True
        if self._in is not None:
            with suppress(termios.error):  # the terminal is closed
                tty.setcbreak(self._in)
        self._write(_OPEN)
        self._drawn = ()

    def _close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._write(_CLOSE)
        if self._in is not None and self._modes is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._in, termios.TCSADRAIN, self._modes)

    def _write(self, data: bytes) -> None:
        """Write around the buffer of stdout, which a signal handler must not enter again."""
        with suppress(OSError):  # the terminal is closed
            while data:
                data = data[os.write(self._out, data) :]


def _draw_again(_number: int, _frame: FrameType | None) -> None:
    """The wake-up that comes with a handled signal is all that is needed."""


ESCAPE = "\x1b"
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[A-Za-z])")
_BEGINNING = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")
_NAMES = {
    "[A": "up", "[B": "down", "OA": "up", "OB": "down",
    "[5~": "page-up", "[6~": "page-down",
    "[H": "home", "[1~": "home", "OH": "home", "[F": "end", "[4~": "end", "OF": "end",
}  # fmt: skip
_CONTROLS = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\b": "backspace"}


class KeyReader:
    """Reads keys from bytes as they arrive. A key is a printable character, or a name such as ``up`` or ``enter``.

    Other control characters, and sequences that have no name here, are not keys.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def is_unfinished(self) -> bool:
        """Whether the last bytes may begin a longer sequence."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """The keys of the next bytes."""
        text = self._rest + self._decoder.decode(data)
        self._rest = ""
        keys: list[str] = []
        at = 0
        while at < len(text):
            if text[at] != ESCAPE:
                keys += _character(text[at])
                at += 1
            elif found := _SEQUENCE.match(text, at):
                keys += filter(None, [_NAMES.get(found[0][1:])])
                at = found.end()
            elif _BEGINNING.fullmatch(text, at):
                self._rest = text[at:]
                break
            else:
                keys.append("escape")
                at += 1
        return keys

    def flush(self) -> list[str]:
        """Nothing more has come: a lone escape is a key, and half of a sequence is not."""
        rest, self._rest = self._rest, ""
        return ["escape"] if rest == ESCAPE else []


def _character(char: str) -> list[str]:
    name = _CONTROLS.get(char, char)
    return [name] if name.isprintable() else []


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


class Shown(Protocol):
    """What a screen shows."""

    @property
    def is_stale(self) -> bool:
        """Whether it has to be read before it is drawn again, because a key has changed what is shown."""

    @property
    def is_due(self) -> bool:
        """Whether a key has asked for an action that is not done yet."""

    def read(self) -> None:
        """Read what is shown."""

    def frame(self, columns: int, rows: int) -> Sequence[str]:
        """The lines of a screen of this size."""

    def press(self, key: str) -> bool:
        """Press a key; return whether this ends the loop."""

    def act(self) -> None:
        """Do the action that is due. It may take a while, so the screen is drawn before."""


def run(screen: FullScreen, shown: Shown, *, every: float) -> None:
    """Show something until a key ends it.

    Args:
        screen: The terminal.
        shown: What it shows. It was read once.
        every: Time between two reads, in seconds.
    """
    due = monotonic() + every
    screen.draw(shown.frame(*screen.size))
    while True:
        for key in screen.wait(due - monotonic()):
            if shown.press(key):
                return
            if shown.is_due:
                screen.draw(shown.frame(*screen.size))
                shown.act()
            if shown.is_stale:
                shown.read()
                due = monotonic() + every
            screen.draw(shown.frame(*screen.size))  # the next key is for what this one has changed
        if monotonic() >= due:
            shown.read()
            due = monotonic() + every
        screen.draw(shown.frame(*screen.size))
