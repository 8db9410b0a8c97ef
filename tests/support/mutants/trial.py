"""Runs tests on a copy of the tree in which one file is changed. The tree itself is never written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple, Self

LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
PASSED, NO_TESTS = 0, 5
"""Exit statuses of pytest."""
OPTIONS = ("-x", "-q", "--no-header", "--assert=plain", "-p", "no:cacheprovider")
"""Nobody reads why a test failed, so its assertions need not be rewritten, which takes longer than most tests."""


class Outcome(NamedTuple):
    """How a run of the tests ended.

    Attributes:
        is_green: Whether all tests passed.
        is_hung: Whether it was killed at its limit.
        took: Seconds.
        said: What it printed.
    """

    is_green: bool
    is_hung: bool
    took: float
    said: str


class Trial:
    """A copy of a tree, in a temporary folder that goes with it.

    Args:
        tree: The tree: a checkout, or any folder with tests.
        options: Further options of pytest.
    """

    def __init__(self, tree: Path, options: Sequence[str] = ()) -> None:
        # Short, since sockets of test servers lie below, and a path to a socket has 107 bytes at most.
        self._folder = Path(tempfile.mkdtemp(prefix="mut-"))
        self._options = tuple(options)
        self.tree = self._folder / "tree"
        self._scratch = self._folder / "t"
        self._scratch.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            shutil.copytree(tree, self.tree, ignore=LEFT_OUT, symlinks=True)
        except BaseException:  # also when it is interrupted: nobody else knows the folder yet
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, tests: Sequence[str], *, limit: float) -> Outcome:
        """Run tests on the copy as it is.

        Args:
            tests: Files or tests, as pytest takes them.
            limit: Seconds after which the run and what it started are killed.
        """
        return self._run(tests, limit, caching=True)

    def run_changed(self, path: str, source: bytes, tests: Sequence[str], *, limit: float) -> Outcome:
        """Run tests while one file of the copy has another text; it is put back afterwards."""
        file = self.tree / path
        before = file.read_bytes()
        if file.suffix == ".py":  # a text of the same length and second would be taken for the compiled one
            Path(cache_from_source(str(file))).unlink(missing_ok=True)
        try:
            file.write_bytes(source)
            return self._run(tests, limit, caching=False)
        finally:
            file.write_bytes(before)

    def _run(self, tests: Sequence[str], limit: float, *, caching: bool) -> Outcome:
        command = [sys.executable, "-m", "pytest", *OPTIONS, *self._options]
        environment = {**os.environ, "PYTHONPATH": str(self.tree), "TMPDIR": str(self._scratch)}
        # What is compiled once serves all runs; an empty value is no, whatever the caller's environment says.
        environment["PYTHONDONTWRITEBYTECODE"] = "" if caching else "1"
        begun = time.monotonic()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [*command, *tests],
                cwd=self.tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            is_hung = False
            self._process = process
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                is_hung = True
            finally:
                self._end()
            took = time.monotonic() - begun
            output.seek(0)
            said = output.read().decode(errors="replace")
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(exist_ok=True)
        if process.returncode == NO_TESTS:
            raise ValueError(f"no tests in {' '.join(tests)}:\n{said}")
        return Outcome(process.returncode == PASSED, is_hung, took, said)

    def _end(self) -> None:
        """Kill what is left of a run. Its servers have sessions of their own, and hang where their script does."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """What runs with the environment of this trial, on Linux; elsewhere nothing is known."""
        mark = b"TMPDIR=%s" % os.fsencode(self._scratch)
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # it has ended, or is another user's
                if mark in environment.read_bytes().split(b"\0"):
                    found.append(int(environment.parent.name))
        return found
