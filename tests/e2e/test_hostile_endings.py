"""Bad jobs in a process that is to end: it leaves in time, and its place is taken."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Program, Programs, is_running
from tests.support.footprint import footprint
from tests.support.waiting import wait_until

COMPLETED = JobStatus.COMPLETED


def start(programs: Programs, **settings: object) -> Program:
    """Start a worker with one child."""
    return programs.ready("histories", "workers.hostile", **{"grace": 0.5, "lease": 600, **settings})


def enqueue(fleet: Fleet, function: str, *args: object) -> str:
    """Enqueue a job."""
    return fleet.enqueue(Job(function, f"hostile.{function}", args))


@pytest.mark.first(1)
@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("leave_threads", (3, 600.0)),
        ("occupy_executor", (600.0,)),
        ("block_signals", ()),
        ("close_stdout", ()),
    ],
)
def test_a_worker_ends_in_time_whatever_a_job_has_left_behind(
    programs: Programs, fleet: Fleet, function: str, args: tuple[object, ...]
) -> None:
    worker = start(programs)
    assert fleet.wait(enqueue(fleet, function, *args), timeout=LONG).status is COMPLETED

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert worker.family() == []


def test_a_worker_that_ends_gives_back_what_hears_nothing(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    never = str(tmp_path / "never")
    worker = start(programs)
    ids = [enqueue(fleet, name, never) for name in ("swallow_cancellation", "swallow_exceptions", "block_signals")]
    wait_until(
        lambda: {fleet.poll(job_id).status for job_id in ids} == {JobStatus.RUNNING}, timeout=LONG, why="all run"
    )

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert worker.family() == []
    found = [fleet.poll(job_id) for job_id in ids]
    assert {(result.status, result.retry_count) for result in found} == {(JobStatus.QUEUED, 0)}


@pytest.mark.first(1)
@pytest.mark.parametrize("function", ["leave_threads", "occupy_executor", "swallow_cancellation"])
def test_a_child_that_is_to_be_replaced_leaves_whatever_a_job_has_left_behind(
    programs: Programs, fleet: Fleet, tmp_path: Path, function: str
) -> None:
    args = {
        "leave_threads": (3, 600.0),
        "occupy_executor": (600.0,),
        "swallow_cancellation": (str(tmp_path / "never"),),
    }
    worker = start(programs, max_jobs=1)
    (child,) = worker.await_children(1)
    enqueue(fleet, function, *args[function])
    fleet.wait(fleet.enqueue(Job("nap", "hist.nap", (0.0,))), timeout=LONG)

    wait_until(lambda: child not in worker.children(), timeout=LONG, why="the child has left")

    assert fleet.wait(fleet.enqueue(Job("nap", "hist.nap", (0.0,))), timeout=LONG).status is COMPLETED


def test_a_closed_stream_is_no_crash(programs: Programs, fleet: Fleet) -> None:
    worker = start(programs)
    assert fleet.wait(enqueue(fleet, "close_stdout"), timeout=LONG).status is COMPLETED

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert "child.died" not in worker.said
    assert "Traceback" not in worker.said


@pytest.mark.parametrize("function", ["leave_grandchild", "fork"])
def test_a_dead_child_is_let_go_though_a_process_of_its_jobs_lives_on(
    programs: Programs, fleet: Fleet, function: str
) -> None:
    worker = start(programs)
    (child,) = worker.await_children(1)
    before = footprint(worker.pid)
    left = fleet.wait(enqueue(fleet, function, 600.0), timeout=LONG).result
    assert isinstance(left, int)

    os.kill(child, signal.SIGKILL)
    assert fleet.wait(fleet.enqueue(Job("nap", "hist.nap", (0.0,))), timeout=LONG).status is COMPLETED

    assert is_running(left), "it is the user's"
    wait_until(lambda: footprint(worker.pid) == before, why="the supervisor holds nothing of the dead child")
    worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0
    os.kill(left, signal.SIGKILL)
