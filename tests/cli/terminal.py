"""A command on a pseudo-terminal, as somebody who sits before it has it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.cli.hand import ROOT

PATIENCE_S = 30.0


class Terminal:
    """Runs `python -m jobfleet` with a terminal of its own as stdin, stdout and stderr.

    Args:
        args: Of the command.
        columns: How wide the terminal is.
        rows: How high.
        environ: Variables besides those of this process.

    Attributes:
        text: All that was written to the terminal so far.
        process: The command.
    """

    def __init__(self, *args: str, columns: int = 80, rows: int = 24, environ: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        unset = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**unset, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environ},
            start_new_session=True,
        )
        os.close(theirs)

    def types(self, text: str) -> None:
        """Press keys; ``\\x03`` is Ctrl-C."""
        os.write(self._ours, text.encode())

    def until(self, wanted: str, after: int = 0) -> str:
        """Read until a text stands there, behind so many characters; all that was written so far.

        Raises:
            AssertionError: It does not come.
        """
        deadline = time.monotonic() + PATIENCE_S
        while wanted not in self.text[after:]:
            assert self._read(deadline), f"{wanted!r} never came; there is {self.text[after:][-4000:]!r}"
        return self.text

    def ends(self) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        data = b""
        if ready:
            with suppress(OSError):  # the other side is closed
                data = os.read(self._ours, 65_536)
        self.text += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)


_MAIN = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from jobfleet.cli.main import main
main()
"""
"""Its terminal is made the one whose Ctrl-C it hears."""
