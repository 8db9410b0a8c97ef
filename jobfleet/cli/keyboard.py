"""Keys that a person presses while a command draws."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from contextlib import AbstractContextManager, suppress
from typing import Any, Self

from jobfleet.clock import monotonic

BYTES = 64


class Keys(AbstractContextManager["Keys"]):
    """Reads single keys of the terminal, without echo. Leaving the block restores the terminal.

    Ctrl-C keeps its meaning. Without a terminal on stdin it only waits.
    """

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def pressed(self, wanted: str, *, within: float) -> bool:
        """Wait for some seconds, or until one of the wanted keys is pressed; return whether it was."""
        deadline = monotonic() + within
        while (left := deadline - monotonic()) > 0:
            if self._before is None:
                time.sleep(left)  # no key can come, so only the time counts
                continue
            ready, _, _ = select.select([sys.stdin.fileno()], [], [], left)
            typed = os.read(sys.stdin.fileno(), BYTES).decode(errors="replace") if ready else ""
            if any(key in wanted for key in typed):
                return True
            if ready and not typed:  # the terminal is closed
                self._restore()
        return False

    def __enter__(self) -> Self:
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            with suppress(termios.error):  # the terminal is closed
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
            self._before = None
