"""Row 2: `enqueue`, `poll` and `cancel` as functions of the module, each a round trip; methods of both clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Fleet, Job, JobNotFound, JobStatus, cancel, enqueue, poll, wait
from tests.support.fleet import LONG, Programs

TIMES = 5


def test_the_functions_of_the_module(fleet: Fleet, programs: Programs) -> None:
    job_id = enqueue(Job(name="Sum", function="seed.add", args=(1, 2)))
    doomed = enqueue(Job(name="Sum", function="seed.add", args=(1, 2)))
    assert (type(job_id), poll(job_id).status) == (str, JobStatus.QUEUED)

    assert cancel(doomed) is True
    assert (poll(doomed).status, cancel(doomed)) == (JobStatus.CANCELLED, False)

    programs.ready("seeds")
    assert wait(job_id, timeout=LONG).result == 3
    assert (poll(job_id).result, cancel(job_id)) == (3, False)


def test_an_unknown_job_is_an_error(fleet: Fleet) -> None:
    for verb in (poll, cancel):
        with pytest.raises(JobNotFound):
            verb("default.0.nobody")


def test_the_methods_of_both_clients(fleet: Fleet, redis_url: str) -> None:
    job_id = fleet.enqueue(Job(name="Sum", function="seed.add", args=(1, 2), delay=60))
    assert fleet.poll(job_id).status is JobStatus.SCHEDULED

    async def elsewhere() -> bool:
        async with AsyncFleet(redis_url) as client:
            assert (await client.poll(job_id)).status is JobStatus.SCHEDULED
            other = await client.enqueue(Job(name="Sum", function="seed.add", args=(1, 2)))
            return await client.cancel(other) and await client.cancel(job_id)

    assert asyncio.run(elsewhere()) is True
    assert (fleet.poll(job_id).status, fleet.cancel(job_id)) == (JobStatus.CANCELLED, False)


def test_each_is_one_round_trip(fleet: Fleet, programs: Programs, raw: redis.Redis) -> None:
    programs.ready("seeds", queues="elsewhere")
    ids = [enqueue(Job(name="Sum", function="seed.add", args=(1, 2))) for _ in range(TIMES + 1)]
    last = ids.pop()
    poll(last)
    cancel(last)

    def calls() -> int:
        """Scripts that this process has had run: enqueue, status and cancel."""
        stats: dict[str, Any] = raw.info("commandstats")
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "evalsha_ro"))

    def trips(act: Callable[[], object]) -> int:
        before = calls()
        act()
        return calls() - before

    # The worker has scripts run now and then, too: the fewest of some times are ours alone.
    def again(_: str) -> str:
        return enqueue(Job(name="Sum", function="seed.add", args=(1, 2)))

    acts: tuple[Callable[[str], object], ...] = (again, poll, cancel)
    for act in acts:
        assert min(trips(partial(act, job_id)) for job_id in ids) == 1
