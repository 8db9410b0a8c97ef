"""A child that serves several lanes: tokens are unique within a lane only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import redis

from jobfleet import Fleet, JobContext, JobStatus
from jobfleet.functions.registry import Registry


@pytest.fixture
def wide(redis_url: str) -> Iterator[Fleet]:
    """A fleet whose queues have three lanes each."""
    with Fleet(redis_url, registry=Registry(), slots=300, lanes="mail=3,bulk=3") as fleet:
        yield fleet


def test_every_job_of_every_lane_ends_though_their_tokens_are_the_same(wide: Fleet, raw: redis.Redis) -> None:
    registry = wide.context.registry

    async def add(x: int, y: int) -> int:
        await asyncio.sleep(0.05)
        return x + y

    functions = [registry.register(add, name=f"test.{queue}", queue=queue) for queue in ("mail", "bulk")]
    receipts = [
        receipt for function in functions for receipt in wide.enqueue_many(function.job(n, 1) for n in range(300))
    ]

    for queue in ("mail", "bulk"):
        for index in range(3):
            raw.hset(wide.context.keys.lane(queue, index).lane, "token", "8000000000000000")

    wide.run_worker(burst=True)

    ended = wide.poll_many([receipt.id for receipt in receipts])
    assert [job.result for job in ended if job is not None] == [n + 1 for n in range(300)] * 2
    assert {job.status for job in ended if job is not None} == {JobStatus.COMPLETED}
    assert wide.statistics()["running"] == 0


def test_lanes_of_one_queue_take_turns(wide: Fleet) -> None:
    ran: list[str] = []

    async def note(ctx: JobContext) -> None:
        ran.append(ctx.job_id.split(".")[1])

    function = wide.context.registry.register(note, name="test.note", queue="mail")
    list(wide.enqueue_many(function.job() for _ in range(90)))

    wide.run_worker(burst=True, slots=1)

    assert len(ran) == 90
    assert set(ran[:6]) == {"0", "1", "2"}
