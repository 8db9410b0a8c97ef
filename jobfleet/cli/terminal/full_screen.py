"""The whole terminal: lines to draw, keys to read, and the terminal as it was before at every kind of end."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from types import FrameType
from typing import Any, NoReturn, Self

import click

from jobfleet.cli.output import Output
from jobfleet.cli.terminal.keys import KeyReader

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
