"""The tests run alike when their parent ignores signals, as under `nohup make test &`."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

FIRST = "from tests.support.dispositions import hand_on_defaults; hand_on_defaults()"
STARTS = "import os, subprocess, sys; os.kill(os.getpid(), {number:d}); sys.exit(subprocess.call({command!r}))"
ENDS = "import os; os.kill(os.getpid(), {number:d})"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM])
@pytest.mark.parametrize("processes", [1, 2])
def test_what_the_parent_ignores_ends_the_programs_of_the_tests_alone(number: signal.Signals, processes: int) -> None:
    command = [sys.executable, "-c", ENDS.format(number=number)]
    for _ in range(processes):  # the first one that runs tests, and one that it starts
        command = [sys.executable, "-c", f"{FIRST}; {STARTS.format(number=number, command=command)}"]
    before = signal.signal(number, signal.SIG_IGN)
    try:
        code = subprocess.call(command)
    finally:
        signal.signal(number, before)

    assert code == (-number) % 256
