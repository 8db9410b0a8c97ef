"""Which queues a worker of the command line serves."""

from __future__ import annotations

import signal
from pathlib import Path

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Program, Programs
from tests.support.waiting import wait_until

OWN_QUEUE = "from jobfleet import job\n\n\n@job(name='own.run', queue='own')\ndef run() -> int:\n    return 7\n"
LATE = """
from jobfleet import job, register_job_function


def late() -> int:
    return 9


@job(name='late.register', queue='own')
def register() -> None:
    register_job_function('late.run', late)
"""


def start(programs: Programs, name: str, text: str) -> Program:
    """Start a worker for a module with this text; it is there when this returns."""
    path = Path(programs.folder / f"{name}.py")
    path.write_text(text)
    worker = programs.worker(name, app_dir=programs.folder)
    with Fleet(programs.url) as fleet:
        wait_until(
            lambda: worker.is_over or any(one.pid == worker.pid for one in fleet.workers()),
            timeout=LONG,
            why="the worker is there",
        )
    assert not worker.is_over, worker.said
    return worker


def queues_of(fleet: Fleet, worker: Program) -> list[str]:
    """What a worker says that it serves."""
    return [queue for one in fleet.workers() if one.pid == worker.pid for queue in one.queues]


def test_default_is_left_to_workers_whose_functions_belong_to_it(programs: Programs, fleet: Fleet) -> None:
    worker = start(programs, "own", OWN_QUEUE)
    wait_until(lambda: queues_of(fleet, worker) == ["own"], timeout=LONG, why="it serves its queue")

    job_id = fleet.enqueue(Job("odd", "hist.npa"))
    assert fleet.wait(fleet.enqueue(Job("own", "own.run", queue="own")), timeout=LONG).result == 7

    assert fleet.poll(job_id).status is JobStatus.QUEUED
    assert "Parked" not in worker.said


def test_a_function_that_a_job_registers_is_published_and_served(programs: Programs, fleet: Fleet) -> None:
    worker = start(programs, "late", LATE)

    fleet.wait(fleet.enqueue(Job("register", "late.register", queue="own")), timeout=LONG)

    assert fleet.wait(fleet.enqueue(Job("late", "late.run")), timeout=LONG).result == 9
    wait_until(lambda: queues_of(fleet, worker) == ["own", "default"], timeout=LONG, why="it says so")


def test_a_worker_without_functions_says_so_and_stops_in_peace(programs: Programs, fleet: Fleet) -> None:
    worker = start(programs, "bare", "x = 1\n")

    worker.await_line("worker.idle")
    assert queues_of(fleet, worker) == []

    worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0
