"""Row 4: the manager, as a program uses it; `tests/compat/test_manager.py` has its every verb."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus, get_job_manager
from tests.support.fleet import LONG, ROOT, Programs
from tests.support.waiting import wait_until

PROGRAM = """
import pathlib, sys, time
from jobfleet import Job, get_job_manager

def hold(path):
    here = pathlib.Path(path)
    here.with_suffix(".runs").open("a").write("run\\n")
    while not here.exists():
        time.sleep(0.01)
    return "held"

manager = get_job_manager()
manager.start(workers=2)
if len(sys.argv) > 2:
    print(manager.enqueue(Job(name="Hold", function=hold, args=(sys.argv[1],))), flush=True)
sys.stdin.read()
manager.shutdown(timeout=20)
"""


class Managed:
    """A program of the document's kind, with its worker inside."""

    def __init__(self, url: str, folder: Path, *arguments: str) -> None:
        script = folder / "program.py"
        script.write_text(PROGRAM)
        environment = {"JOBFLEET_URL": url, "JOBFLEET_LEASE": "2", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(folder / "gate"), *arguments],
            env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def started() -> Iterator[list[Managed]]:
    programs: list[Managed] = []
    yield programs
    for program in programs:
        program.close()


def test_what_a_killed_program_has_left_is_run_by_the_next(
    fleet: Fleet, redis_url: str, tmp_path: Path, started: list[Managed]
) -> None:
    started.append(Managed(redis_url, tmp_path, "enqueue"))
    assert started[0].process.stdout is not None
    job_id = started[0].process.stdout.readline().strip()
    runs = tmp_path / "gate.runs"
    wait_until(lambda: runs.exists() and runs.read_text() == "run\n", timeout=LONG, why="it runs")
    started[0].process.send_signal(signal.SIGKILL)
    started[0].process.wait()

    started.append(Managed(redis_url, tmp_path))

    wait_until(lambda: runs.read_text().count("run") == 2, timeout=LONG, why="the next program runs it")
    (tmp_path / "gate").touch()
    assert fleet.wait(job_id, timeout=LONG).result == "held"


def test_shutdown_waits_for_what_runs(fleet: Fleet, redis_url: str, tmp_path: Path, started: list[Managed]) -> None:
    started.append(Managed(redis_url, tmp_path, "enqueue"))
    process = started[0].process
    assert process.stdout is not None
    assert process.stdin is not None
    job_id = process.stdout.readline().strip()
    wait_until(lambda: fleet.poll(job_id).status is JobStatus.RUNNING, timeout=LONG, why="it runs")

    process.stdin.close()
    wait_until(lambda: fleet.poll(job_id).status is JobStatus.RUNNING, why="it still runs")
    (tmp_path / "gate").touch()

    assert process.wait(LONG) == 0
    assert (fleet.poll(job_id).result, fleet.workers()) == ("held", [])


def test_the_manager_speaks_for_workers_elsewhere(fleet: Fleet, programs: Programs) -> None:
    manager = get_job_manager()
    parent = manager.enqueue(Job(name="Sum", function="seed.add", args=(1, 2)))
    child = manager.enqueue(Job(name="Total", function="seed.total", depends_on=[parent]))
    assert [job.status for job in manager.get_pending_jobs()] == [JobStatus.QUEUED, JobStatus.BLOCKED]
    failing = manager.enqueue(Job(name="Raise", function="seed.raise", args=("ValueError",), user="ann"))

    programs.ready("seeds")

    assert manager.wait(child, timeout=LONG).result == 3
    manager.wait(failing, timeout=LONG)
    assert [letter.id for letter in manager.dead_letters()] == [failing]
    told = manager.statistics()
    assert (told["total"], told["completed"], told["failed"], told["workers"], told["dead_letters"]) == (3, 2, 1, 1, 1)
    assert told["by_user"]["ann"]["failed"] == 1
    assert manager.retry_dead_letter(failing) is True
    assert manager.cancel(failing) in {True, False}
    assert manager.cleanup_old_results(days=30) == 0
    assert not manager.is_running
