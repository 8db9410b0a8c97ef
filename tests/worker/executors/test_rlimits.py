"""Limits of isolated processes are hard: user code cannot raise them, unless its worker runs with that privilege."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.support.fleet import ROOT

BEFORE = """
    import resource
    from jobfleet.worker.executors.isolated import confinement as limits

    def tried(kind):
        try:
            resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (ValueError, OSError):
            return "refused"
        return "raised"
"""


def told(body: str) -> list[str]:
    """What a process of its own prints that runs some lines, its exit code and its last error."""
    script = textwrap.dedent(BEFORE) + textwrap.dedent(body)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    return [*run.stdout.split(), str(run.returncode), run.stderr.strip()[-300:]]


@pytest.fixture(autouse=True)
def unprivileged() -> None:
    """Whoever has CAP_SYS_RESOURCE may raise hard limits; no limit holds it."""
    lines = """
        resource.setrlimit(limits.MEMORY, (1 << 40, 1 << 40))
        print(tried(limits.MEMORY))
    """
    if told(lines)[0] == "raised":
        pytest.skip("this user may raise hard limits")


def test_a_job_cannot_raise_its_limits() -> None:
    lines = """
        with limits.bounded(1 << 30, 100.0):
            print(tried(limits.MEMORY), tried(resource.RLIMIT_CPU))
            print(*(resource.getrlimit(limits.MEMORY)))
            soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
            print(hard - soft)
    """

    assert told(lines) == ["refused", "refused", str(1 << 30), str(1 << 30), "1", "0", ""]


def test_an_allocation_beyond_the_limit_fails_and_the_process_goes_on() -> None:
    lines = """
        with limits.bounded(1 << 30, 0.0) as bounds:
            try:
                bytearray(2 << 30)
            except MemoryError:
                print("failed")
        print(bounds.is_lifted)
    """

    assert told(lines) == ["failed", "True", "0", ""]


def test_a_limit_of_cpu_time_that_stays_ends_the_use_of_a_process() -> None:
    lines = """
        with limits.bounded(0, 100.0) as bounds:
            pass
        print(bounds.is_lifted)
        with limits.bounded(1 << 30, 0.0) as bounds:
            pass
        print(bounds.is_lifted)
    """

    assert told(lines)[0] == "False"


def test_who_survives_sigxcpu_is_killed_a_second_later() -> None:
    lines = """
        import signal
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        with limits.bounded(0, 0.1):
            while True:
                pass
    """

    assert told(lines) == ["-9", ""]
