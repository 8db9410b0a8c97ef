"""Shells in which the completion of the command line is tried, each on a terminal of its own."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support.tools import NotInstalled

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv" / "tools" / "usr"
PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 30.0
_ANSI = re.compile(r"\x1b[\[(][0-9;?<>=]*[A-Za-z]|\x1b[=>]|[\r\x07]")


def shell(name: str) -> str:
    """The path of a shell.

    Raises:
        NotInstalled: It is not there.
    """
    own = TOOLS / "bin" / name
    found = str(own) if own.exists() else shutil.which(name)
    if not found:
        raise NotInstalled(f"no {name}: scripts/tools could not bring it")
    return found


def variables(redis_url: str, home: Path) -> dict[str, str]:
    """What a shell of a test has in its environment."""
    libraries = [str(folder) for folder in (TOOLS / "lib").glob("*-linux-gnu*")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JOBFLEET_", "COMP_"))}
    return {
        **kept,
        "PATH": f"{PROGRAMS}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "ZDOTDIR": str(home),
        "TERM": "xterm",
        "COLUMNS": "200",
        "LD_LIBRARY_PATH": ":".join(libraries),
        "JOBFLEET_URL": redis_url,
    }


def prepare_zsh(home: Path) -> None:
    """Tell an unpacked zsh where its modules and functions are."""
    (modules,) = [*(TOOLS / "lib").glob("*/zsh/*"), *Path("/usr/lib").glob("*/zsh/*")][:1]
    functions = TOOLS / "share" / "zsh" / "functions"
    lines = [f"module_path=({modules})"]
    if functions.exists():
        lines.append(f"fpath=({functions}/**/(N))")
    (home / ".zshenv").write_text("\n".join([*lines, "skip_global_compinit=1", ""]))
    (home / ".zshrc").write_text("PROMPT='ready> '\nunsetopt zle_bracketed_paste prompt_sp\n")


class Prompt:
    """An interactive shell on a terminal.

    Args:
        command: The shell and its arguments.
        environ: Its variables.
        home: The folder in which it starts.
    """

    def __init__(self, command: list[str], environ: Mapping[str, str], home: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.text = ""
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(environ), cwd=home, start_new_session=True
        )
        os.close(theirs)

    def types(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def until(self, wanted: str) -> str:
        """Read until a text was written; return all that was written since the last call, up to its end.

        Raises:
            AssertionError: It does not come.
        """
        deadline = time.monotonic() + PATIENCE_S
        while wanted not in self.text:
            assert time.monotonic() < deadline, f"{wanted!r} never came; there is {self.text!r}"
            if select.select([self._ours], [], [], 0.2)[0]:
                self.text = _ANSI.sub("", self.text + os.read(self._ours, 65536).decode(errors="replace"))
        before, found, self.text = self.text.partition(wanted)
        return before + found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._ours)
