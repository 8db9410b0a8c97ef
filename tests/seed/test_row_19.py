"""Row 19: figures: a round trip to enqueue and to poll (row 2), little memory a job, more workers for more jobs.

Times are measured by ``make bench``, and by ``scripts/verify``; no test judges a clock.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import redis

from jobfleet import Fleet, Job, JobStatus, enqueue, poll
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until

MIB = 1024 * 1024


def test_a_thousand_waiting_jobs_take_less_than_a_megabyte(fleet: Fleet, raw: redis.Redis) -> None:
    def used() -> int:
        memory: dict[str, Any] = raw.info("memory")
        return int(memory["used_memory"])

    enqueue(Job(name="Sum", function="seed.add", args=(10, 20)))
    before = used()

    refused = [one for one in fleet.enqueue_many(Job("Sum", "seed.add", (10, 20)) for _ in range(1000)) if one.error]

    assert refused == []
    assert used() - before < MIB


def test_another_worker_takes_more_jobs_at_once(fleet: Fleet, programs: Programs, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    programs.ready("seeds", slots=1)
    ids = [enqueue(Job(name="Hold", function="seed.hold", args=(str(gate),))) for _ in range(2)]
    wait_until(lambda: poll(ids[0]).status is JobStatus.RUNNING, timeout=LONG, why="the first runs")
    assert poll(ids[1]).status is JobStatus.QUEUED

    programs.ready("seeds", slots=1)

    wait_until(lambda: poll(ids[1]).status is JobStatus.RUNNING, timeout=LONG, why="the second runs beside it")
    assert poll(ids[0]).status is JobStatus.RUNNING
    gate.touch()
