"""A wall clock that can be moved: a small library that is loaded into a process before its own libraries."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class NoCompiler(Exception):
    """There is no C compiler, so no clock can be moved."""


class MovableClock:
    """The clock of the processes that were started with its environment.

    Args:
        folder: Where the library and the shift are kept.
        name: Of the files; one for each clock.

    Attributes:
        environment: The variables that a process must have.

    Raises:
        NoCompiler: There is no C compiler.
    """

    def __init__(self, folder: Path, name: str) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise NoCompiler("No C compiler (cc) was found; it builds the library that moves a clock.")
        library = folder / "clock.so"
        if not library.exists():
            subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)], check=True)
        self._file = folder / f"{name}.clock"
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._file)}
        self.move(0)

    def move(self, seconds: int) -> None:
        """Let the clock be so many seconds ahead, or behind."""
        fresh = self._file.with_suffix(".fresh")
        fresh.write_text(f"{seconds}\n")
        fresh.replace(self._file)
