"""The end of jobs in processes of their own: with their worker, with its child, and without either."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Program, Programs
from tests.support.processes import cells, gone, pid_in
from tests.support.runs import Run
from tests.support.server import is_running
from tests.support.waiting import wait_until


@pytest.fixture
def worker(programs: Programs) -> Program:
    """A worker with two slots and one spare process."""
    return programs.ready("cells", slots=2, queues="default,roomy")


@pytest.mark.first(1)
@pytest.mark.parametrize("function", ["cell.stubborn", "cell.hold"])
def test_what_hears_no_interruption_is_terminated_and_its_worker_goes_on(
    programs: Programs, fleet: Fleet, tmp_path: Path, function: str
) -> None:
    worker = programs.ready("cells", stop_grace=1.5)
    children = worker.children()
    job_id = fleet.enqueue(Job("long", function, (str(tmp_path / "pid"),)))
    process = pid_in(tmp_path / "pid")

    fleet.cancel(job_id, by="ann")

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.status, result.stop_stage) == (JobStatus.CANCELLED, "terminated")
    gone(process)
    assert worker.children() == children


def test_a_process_that_cannot_load_its_modules_fails_its_job_and_says_why(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("halves")

    job_id = fleet.enqueue(Job("half", "half.one", (1,), max_crashes=2))

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.error_class, result.attempt) == ("crashed", 2)
    assert result.error == "its process could not start: RuntimeError while its modules were imported"
    assert "only in the worker" in worker.said


@pytest.mark.parametrize(
    ("which", "function"), [("child", "cell.brood"), ("worker", "cell.brood"), ("child", "cell.hold")]
)
def test_processes_and_their_children_end_with_their_parent(
    fleet: Fleet, worker: Program, tmp_path: Path, which: str, function: str
) -> None:
    fleet.enqueue(Job("brood", function, (str(tmp_path / "pids"),)))
    pid_in(tmp_path / "pids")
    family = [*map(int, (tmp_path / "pids").read_text().split()), *cells(worker)]
    assert len(family) >= 3

    os.kill(worker.children()[0] if which == "child" else worker.pid, signal.SIGKILL)

    if which == "worker":  # an orphaned child leaves by itself, after a share of the lease
        for child in worker.children():
            os.kill(child, signal.SIGKILL)
    gone(*family)


def test_the_children_of_a_process_end_with_its_parent_even_if_it_dies_first(
    fleet: Fleet, worker: Program, tmp_path: Path
) -> None:
    fleet.enqueue(Job("brood", "cell.brood", (str(tmp_path / "pids"),)))
    leader = pid_in(tmp_path / "pids")
    spare = wait_until(lambda: [one for one in cells(worker) if one != leader], timeout=LONG, why="the next is there")
    family = [*map(int, (tmp_path / "pids").read_text().split()), *spare]
    (child,) = worker.children()

    os.kill(child, signal.SIGSTOP)  # so that it does not end the rest itself
    os.kill(leader, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)

    gone(*family)


def test_processes_and_their_children_end_even_if_a_fork_of_their_parent_goes_on(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    worker = programs.ready("cells", "forks", slots=2)
    fleet.enqueue(Job("brood", "cell.brood", (str(tmp_path / "pids"),)))
    pid_in(tmp_path / "pids")
    fleet.enqueue(Job("fork", "forks.fork", (str(tmp_path / "fork"),)))
    fork = pid_in(tmp_path / "fork")
    try:
        family = [*map(int, (tmp_path / "pids").read_text().split()), *cells(worker)]
        os.kill(worker.children()[0], signal.SIGKILL)

        gone(*family)
        assert is_running(fork)
    finally:
        os.kill(fork, signal.SIGKILL)


@pytest.mark.parametrize(("function", "first"), [("cell.sleep", (600.0,)), ("cell.stubborn", ()), ("cell.hold", ())])
def test_a_drained_worker_leaves_no_process_behind(
    programs: Programs, fleet: Fleet, tmp_path: Path, function: str, first: tuple[float, ...]
) -> None:
    worker = programs.ready("cells", grace=0.2)
    job_id = fleet.enqueue(Job("long", function, (*first, str(tmp_path / "pid"))))
    pid_in(tmp_path / "pid")
    family = worker.family()

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    gone(*family)
    assert fleet.poll(job_id).status is JobStatus.QUEUED


def test_an_idle_process_leaves_in_peace_and_what_a_job_did_to_signals_is_undone(
    fleet: Fleet, run: Run, worker: Program, tmp_path: Path
) -> None:
    assert run("cell.closing", str(tmp_path / "closed")).status is JobStatus.COMPLETED
    worker.await_line("printed and not flushed")
    assert run("cell.limited", 600).error_class == "timeout", "it is interrupted all the same"
    assert run("cell.closing", str(tmp_path / "closed")).status is JobStatus.COMPLETED

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert (tmp_path / "closed").exists()
