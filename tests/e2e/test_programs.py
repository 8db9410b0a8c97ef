"""Programs with a worker of their own, as real processes: Ctrl-C, cancellations, later hooks and notifications."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, ROOT
from tests.support.waiting import wait_until

HEAD = """
import sys, time
from pathlib import Path
from jobfleet import JobContext, configure, get_job_manager, hooks, job
fleet = configure(sys.argv[1])
folder = Path(sys.argv[2])

def tell(what):
    with (folder / "told").open("a") as file:
        file.write(f"{what}\\n")

@job(name="prog.linger")
def linger(seconds: float) -> str:
    tell("begun")
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (folder / "gate").exists():
        time.sleep(0.01)
    tell("ended")
    return "ended"
"""
RUN_WORKER = (
    HEAD
    + """
fleet.run_worker()
tell("returned")
"""
)
MANAGER = (
    HEAD
    + """
get_job_manager().start(workers=2)
tell("started")
while True:
    time.sleep(0.1)
"""
)
MANAGER_SHUT_DOWN = (
    HEAD
    + """
manager = get_job_manager()
manager.start(workers=2)
try:
    tell("started")
    while True:
        time.sleep(0.1)
except KeyboardInterrupt:
    manager.shutdown(timeout=600)
    tell("shut down")
"""
)
PROGRAMS = {"run_worker": RUN_WORKER, "manager": MANAGER, "shutdown": MANAGER_SHUT_DOWN}
LINE = "Stopping: running jobs have up to"


class Running:
    """One program with its output."""

    def __init__(self, text: str, url: str, folder: Path) -> None:
        script = folder / "program.py"
        script.write_text(text)
        self._folder = folder
        self._out = folder / "out"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(script), url, str(folder)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._out.read_text()

    @property
    def told(self) -> list[str]:
        path = self._folder / "told"
        return path.read_text().splitlines() if path.exists() else []

    def await_told(self, what: str) -> None:
        wait_until(lambda: what in self.told, timeout=LONG, why=f"it tells {what!r}; it said {self.said}")

    def interrupt(self) -> None:
        os.kill(self.process.pid, signal.SIGINT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    """Starts a program; its worker serves when its first job runs."""
    started: list[Running] = []

    def run(text: str) -> Running:
        started.append(Running(text, redis_url, tmp_path))
        return started[-1]

    yield run
    for program in started:
        program.close()
        sys.stdout.write(program.said)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_ctrl_c_drains_and_prints_one_line(
    start: Callable[[str], Running], fleet: Fleet, tmp_path: Path, kind: str
) -> None:
    program = start(PROGRAMS[kind])
    job_id = fleet.enqueue(Job("linger", "prog.linger", (600.0,)))
    program.await_told("begun")
    if kind != "run_worker":
        program.await_told("started")

    program.interrupt()
    wait_until(lambda: LINE in program.said, timeout=LONG, why="it announces the drain")
    (tmp_path / "gate").touch()

    code = program.process.wait(LONG)
    assert fleet.poll(job_id).result == "ended"
    assert code == (-signal.SIGINT if kind == "manager" else 0)
    assert [line for line in program.said.splitlines() if line.strip()] == [
        line for line in program.said.splitlines() if LINE in line
    ]
    assert program.said.count(LINE) == 1
    assert fleet.workers() == []


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_second_ctrl_c_stops_now(start: Callable[[str], Running], fleet: Fleet, kind: str) -> None:
    program = start(
        PROGRAMS[kind].replace("fleet = configure(sys.argv[1])", "fleet = configure(sys.argv[1], grace=600)")
    )
    job_id = fleet.enqueue(Job("linger", "prog.linger", (600.0,)))
    program.await_told("begun")
    if kind != "run_worker":
        program.await_told("started")

    stop_now(program)

    assert_released(fleet, job_id)
    assert "Traceback" not in program.said
    assert "Exception ignored" not in program.said


def stop_now(program: Running) -> None:
    """Press Ctrl-C twice, and wait for the end of the program."""
    program.interrupt()
    wait_until(lambda: LINE in program.said, timeout=LONG, why="it announces the drain")
    program.interrupt()
    program.process.wait(LONG)


def assert_released(fleet: Fleet, job_id: str) -> None:
    """The job is back in its queue, nothing is charged, and the worker has left."""
    result = fleet.poll(job_id)
    assert (result.status, result.retry_count) == (JobStatus.QUEUED, 0)
    assert fleet.workers() == []


def test_a_second_ctrl_c_counts_though_the_main_thread_does_not_hear_it(
    start: Callable[[str], Running], fleet: Fleet
) -> None:
    """A thread that is about to wait for a lock hears nothing of a signal; here it hears of none at all."""
    deaf = "    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n    manager.shutdown"
    program = start("import signal\n" + MANAGER_SHUT_DOWN.replace("    manager.shutdown", deaf))
    job_id = fleet.enqueue(Job("linger", "prog.linger", (600.0,)))
    program.await_told("begun")
    program.await_told("started")

    stop_now(program)

    assert_released(fleet, job_id)
    assert program.told[-1] == "shut down"


QUICK = """
import os, signal, threading
presses, handle, printed = [], signal.getsignal(signal.SIGINT), sys.stderr

def pressed(*args):
    try:
        handle(*args)
    finally:
        presses.append(1)

class Quick:
    def write(self, text):
        printed.write(text)
        while "Press Ctrl-C again" in text and len(presses) < 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)

    def flush(self):
        printed.flush()

signal.signal(signal.SIGINT, pressed)
sys.stderr = Quick()
"""
"""Presses Ctrl-C again while the line is printed that offers it.

It does so until the program hears it: a thread that is about to wait for a lock hears of a
signal only with the next one.
"""


@pytest.mark.parametrize("kind", ["manager", "shutdown"])
def test_a_second_ctrl_c_counts_as_soon_as_it_is_offered(
    start: Callable[[str], Running], fleet: Fleet, kind: str
) -> None:
    text = PROGRAMS[kind].replace("fleet = configure(sys.argv[1])", "fleet = configure(sys.argv[1], grace=600)")
    lines = [line for line in text.splitlines() if line.strip() == 'tell("started")']
    indent = lines[0].removesuffix('tell("started")')
    quick = "".join(f"{indent}{line}\n" if line else "\n" for line in QUICK.splitlines())
    program = start(text.replace(lines[0], quick + lines[0]))
    job_id = fleet.enqueue(Job("linger", "prog.linger", (600.0,)))
    program.await_told("begun")
    program.await_told("started")

    program.interrupt()
    program.process.wait(LONG)

    result = fleet.poll(job_id)
    assert (result.status, result.retry_count) == (JobStatus.QUEUED, 0)
    assert "Traceback" not in program.said
    assert "Exception ignored" not in program.said
    assert fleet.workers() == []


def test_term_drains_a_worker_in_the_main_thread(start: Callable[[str], Running], fleet: Fleet, tmp_path: Path) -> None:
    program = start(RUN_WORKER)
    job_id = fleet.enqueue(Job("linger", "prog.linger", (600.0,)))
    program.await_told("begun")

    program.process.terminate()
    wait_until(lambda: LINE in program.said, timeout=LONG, why="it announces the drain")
    (tmp_path / "gate").touch()

    assert program.process.wait(LONG) == 0
    assert fleet.poll(job_id).result == "ended"
    assert program.told[-1] == "returned"
