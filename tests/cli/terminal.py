"""A command on a pseudo-terminal, as somebody who sits before it has it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from tests.cli.hand import ROOT
from tests.support import fork_server

PATIENCE_S = 30.0


class Terminal:
    """Runs `python -m jobfleet` with a terminal of its own as stdin, stdout and stderr.

    Args:
        args: Of the command.
        columns: How wide the terminal is.
        rows: How high.
        environ: Variables besides those of this process.
        has_shell: Whether a shell with job control runs the command: it prints STOPPED when the command is stopped,
            and continues it after a line of input.
        before: Python to run before the command, in its process.

    Attributes:
        text: All that was written to the terminal so far.
        process: The command, or its shell.
        modes_before: The modes of the terminal before the command.
    """

    def __init__(
        self,
        *args: str,
        columns: int = 80,
        rows: int = 24,
        environ: Mapping[str, str],
        has_shell: bool = False,
        before: str = "",
    ) -> None:
        self._ours, theirs = pty.openpty()
        self.modes_before = self.modes
        self.resizes(columns, rows)
        unset = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.text = ""
        self._is_closed = False
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                fork_server.IN_TERMINAL,
                "\n".join([_OWN, _SHELL if has_shell else "", before, _MAIN]),
                *args,
            ],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**unset, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environ},
            start_new_session=True,
        )
        os.close(theirs)

    @property
    def modes(self) -> list[Any]:
        """The modes of the terminal now."""
        return termios.tcgetattr(self._ours)

    @property
    def screen(self) -> list[str]:
        """The lines of the last frame that was drawn as a whole, without colours."""
        frame = self.text.rpartition("\x1b[J")[0].rpartition("\x1b[H")[2]
        return [line.rstrip() for line in _ANSI.sub("", frame).replace("\r", "").split("\n")]

    def shows(self, *wanted: str, rows: int | None = None) -> list[str]:
        """Read until the last frame has one of these texts, and maybe so many lines; its lines.

        Raises:
            AssertionError: It does not come.
        """
        deadline = time.monotonic() + PATIENCE_S
        texts = wanted or ("",)
        while not any(text in line for line in self.screen for text in texts) or rows not in {None, len(self.screen)}:
            assert self._read(deadline), f"{texts} never came; there is {self.screen}"
        return self.screen

    def resizes(self, columns: int, rows: int) -> None:
        """Change the size of the terminal."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def stops_command(self) -> None:
        """Stop the process in the foreground in a way that it cannot handle."""
        os.killpg(os.tcgetpgrp(self._ours), signal.SIGSTOP)

    def restores_modes(self) -> None:
        """Restore the modes of the terminal, as a shell does when a command stops."""
        termios.tcsetattr(self._ours, termios.TCSANOW, self.modes_before)

    def hangs_up(self) -> None:
        """Close the terminal, as a lost connection does."""
        os.close(self._ours)
        self._is_closed = True

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
        if not self._is_closed:
            os.close(self._ours)


STOPPED = "[the command is stopped]"
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_OWN = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
"""
"""Its terminal is made the one whose Ctrl-C it hears."""
_SHELL = f"""
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
if child := os.fork():
    while True:
        status = os.waitpid(child, os.WUNTRACED)[1]
        os.tcsetpgrp(0, os.getpgrp())
        if not os.WIFSTOPPED(status):
            sys.exit(os.waitstatus_to_exitcode(status))
        print("{STOPPED}", flush=True)
        sys.stdin.readline()
        os.tcsetpgrp(0, child)
        os.killpg(child, signal.SIGCONT)
os.setpgid(0, 0)
os.tcsetpgrp(0, os.getpid())
signal.signal(signal.SIGTTOU, signal.SIG_DFL)
"""
_MAIN = """
from jobfleet.cli.main import main
main()
"""

if __name__ == "__main__":
    exec(sys.argv.pop(1), {"__name__": "__main__"})
