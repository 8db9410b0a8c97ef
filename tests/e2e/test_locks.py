"""A lock of the fleet whose holder dies with its whole worker."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import redis

from jobfleet import Fleet, Job, JobResult, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until

LOCK = Keyspace("jobfleet").lock("crm")
APP = """
import asyncio
from jobfleet import JobContext, job

@job(name="app.hold", queue="one", max_retries=0)
async def hold(ctx: JobContext) -> None:
    async with ctx.lock("crm"):
        await asyncio.sleep(600)

@job(name="app.use", queue="two")
def use(ctx: JobContext) -> int:
    with ctx.lock("crm") as lock:
        return lock.fence
"""


def test_the_lock_of_a_killed_worker_is_free_after_its_lease(
    programs: Programs, fleet: Fleet, tmp_path: Path, raw: redis.Redis
) -> None:
    (tmp_path / "locking.py").write_text(APP)
    dying = programs.ready("locking", app_dir=tmp_path, queues="one", lease=3)
    programs.ready("locking", app_dir=tmp_path, queues="two", lease=3)
    fleet.enqueue(Job("hold", "app.hold"))
    wait_until(lambda: raw.zcard(LOCK) == 1, timeout=LONG, why="the lock is held")
    (first,) = [float(fence) for _, fence in raw.zscan_iter(LOCK)]
    waiting = fleet.enqueue(Job("use", "app.use"))
    wait_until(lambda: fleet.poll(waiting).status is JobStatus.RUNNING, timeout=LONG, why="it waits")

    dying.send_all(signal.SIGKILL)

    result: JobResult[Any] = fleet.wait(waiting, timeout=LONG)
    assert result.status is JobStatus.COMPLETED
    assert (result.result or 0) > first
