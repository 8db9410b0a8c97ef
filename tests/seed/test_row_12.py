"""Row 12: waiting and running jobs survive everything, Redis included."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Programs
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def test_all_is_killed_and_every_job_ends(own_server: RedisServer, tmp_path: Path) -> None:
    programs, gate = Programs(own_server.url, tmp_path), tmp_path / "gate"
    with Fleet(own_server.url, patience=LONG) as fleet:
        try:
            worker = programs.ready("seeds", lease=2, slots=1)
            running = fleet.enqueue(Job(name="Hold", function="seed.hold", args=(str(gate),)))
            wait_until(lambda: fleet.poll(running).status is JobStatus.RUNNING, timeout=LONG, why="it runs")
            waiting = fleet.enqueue(Job(name="Sum", function="seed.add", args=(1, 2)))
            later = fleet.enqueue(Job(name="Sum", function="seed.add", args=(3, 4), delay=0.5))
            child = fleet.enqueue(Job(name="Total", function="seed.total", depends_on=[waiting, later]))
            worker.send_all(signal.SIGKILL)
            worker.exit_code()
            own_server.kill()
            gate.touch()

            own_server.restart()
            programs.ready("seeds", lease=2)

            results = [fleet.wait(job_id, timeout=LONG) for job_id in (running, waiting, later, child)]
        finally:
            programs.close()
    assert [result.result for result in results] == [2, 3, 7, 10]
