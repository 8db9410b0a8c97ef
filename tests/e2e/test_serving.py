"""Which queues a worker of the command line serves."""

from __future__ import annotations

import signal
from pathlib import Path

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Program, Programs, settle_all
from tests.support.waiting import wait_until

OWN_QUEUE = "from jobfleet import job\n\n\n@job(name='own.run', queue='own')\ndef run() -> int:\n    return 7\n"
NAMES = ("one", "other")
LATE = """
from jobfleet import job, register_job_function


def late() -> int:
    return 9


@job(name='late.register', queue='own')
def register() -> None:
    register_job_function('late.run', late)
"""


def start(programs: Programs, name: str, text: str, **settings: object) -> Program:
    """Start a worker for a module with this text; it is there when this returns."""
    path = Path(programs.folder / f"{name}.py")
    path.write_text(text)
    worker = programs.worker(name, app_dir=programs.folder, **settings)
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
    worker = start(programs, "bare", "x = 1\n", processes=2)

    worker.await_line("worker.idle")
    worker.await_children(2)
    wait_until(lambda: [one.children for one in fleet.workers()] == [2], timeout=LONG, why="both are ready")
    assert [line.split()[2] for line in worker.said.splitlines() if " WARNING " in line] == ["worker.idle"]
    assert queues_of(fleet, worker) == []

    worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0


def test_workers_of_different_modules_share_a_queue(programs: Programs, fleet: Fleet) -> None:
    """Also where a job that nobody knows dies at once, and every child claims more than it knows."""
    for name in NAMES:
        text = f"from jobfleet import job\n\n\n@job(name='{name}.run')\ndef run(x: int) -> int:\n    return x\n"
        start(programs, name, text, unknown_grace=0.001, processes=2)
    wait_until(
        lambda: sum(bool(worker.kinds) for worker in fleet.workers()) == 2,
        timeout=LONG,
        why="both know their functions",
    )

    jobs = [Job(f"{name}-{n}", f"{name}.run", (n,)) for n in range(120) for name in NAMES]
    ids = [one.id for one in fleet.enqueue_many(jobs)]

    results = settle_all(fleet, ids)
    assert {(one.status, one.retry_count) for one in results.values()} == {(JobStatus.COMPLETED, 0)}
    assert "no worker knows" not in programs.logs()
