"""Concurrent enqueues of an `AsyncFleet` share round trips."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, FleetFull, Job, StoreUnavailable
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from tests.support.faults import AsyncFlakyLink, Faults
from tests.support.server import free_port

LANE = Keyspace("jobfleet").lane("default", 0)


@pytest.fixture
def faults() -> Faults:
    return Faults(share=0.0)


@pytest.fixture
async def fleet(redis_url: str, registry: Registry, faults: Faults) -> AsyncIterator[AsyncFleet]:
    async with AsyncFleet(redis_url, registry=registry, patience=5) as fleet:
        fleet.store.link = AsyncFlakyLink(fleet.store.link, faults)
        await fleet.enqueue(Job("Sum", "app.add", (0, 0)))  # looks up the lanes, loads the script
        faults.exchanges.clear()
        yield fleet


def sums(count: int) -> list[Job]:
    return [Job("Sum", "app.add", (n, n), id=f"n{n}") for n in range(count)]


async def test_concurrent_enqueues_share_trips(fleet: AsyncFleet, faults: Faults, raw: redis.Redis) -> None:
    ids = await asyncio.gather(*(fleet.enqueue(job) for job in sums(1_000)))

    assert ids == [f"default.0.n{n}" for n in range(1_000)]
    assert raw.zcard(LANE.ready[2]) == 1_001
    assert [len(commands) for commands in faults.exchanges] == [1, 20]  # 50 jobs a command


async def test_enqueues_one_after_the_other_go_at_once(fleet: AsyncFleet, faults: Faults) -> None:
    for job in sums(3):
        await fleet.enqueue(job)

    assert [len(commands) for commands in faults.exchanges] == [1, 1, 1]


async def test_each_caller_learns_whether_its_own_job_is_new(fleet: AsyncFleet) -> None:
    await fleet.enqueue(sums(4)[2])

    receipts = await asyncio.gather(*(fleet.submit(job) for job in sums(4)))

    assert [one.created for one in receipts] == [True, True, False, True]


async def test_a_caller_that_is_cancelled_takes_nobody_along(fleet: AsyncFleet, raw: redis.Redis) -> None:
    tasks = [asyncio.create_task(fleet.enqueue(job)) for job in sums(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()

    ended = await asyncio.gather(*tasks, return_exceptions=True)

    assert [one for one in ended if isinstance(one, str)] == [f"default.0.n{n}" for n in range(1, 20, 2)]
    assert await fleet.enqueue(Job("Sum", "app.add", (1, 1), id="after")) == "default.0.after"


async def test_lost_replies_lose_no_job_and_make_none_twice(
    fleet: AsyncFleet, faults: Faults, raw: redis.Redis
) -> None:
    fleet.store.link = AsyncFlakyLink(fleet.store.link, Faults(seed=3, share=0.5))

    ids = await asyncio.gather(*(fleet.enqueue(job) for job in sums(300)))

    assert len(set(ids)) == 300
    assert raw.zcard(LANE.ready[2]) == 301


async def test_every_caller_learns_that_the_server_is_full(fleet: AsyncFleet, raw: redis.Redis) -> None:
    raw.config_set("maxmemory", "1mb")
    try:
        ended = await asyncio.gather(*(fleet.enqueue(job) for job in sums(120)), return_exceptions=True)
    finally:
        raw.config_set("maxmemory", "0")

    assert {type(one) for one in ended} == {FleetFull}
    assert await fleet.enqueue(Job("Sum", "app.add", (1, 1), id="after")) == "default.0.after"


async def test_every_caller_learns_that_the_server_is_away(registry: Registry) -> None:
    async with AsyncFleet(f"redis://127.0.0.1:{free_port()}/0", registry=registry, patience=0.1) as fleet:
        fleet.context.remember("default", (1, 1))

        ended: list[Any] = await asyncio.gather(*(fleet.enqueue(job) for job in sums(80)), return_exceptions=True)

    assert {type(one) for one in ended} == {StoreUnavailable}


async def test_closing_sends_what_has_gathered(redis_url: str, registry: Registry, raw: redis.Redis) -> None:
    fleet = AsyncFleet(redis_url, registry=registry)
    await fleet.enqueue(Job("Sum", "app.add", (0, 0)))

    tasks = [asyncio.create_task(fleet.enqueue(job)) for job in sums(100)]
    await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    await fleet.aclose()

    assert raw.zcard(LANE.ready[2]) == 101


async def test_a_client_that_was_closed_connects_again(redis_url: str, registry: Registry) -> None:
    fleet = AsyncFleet(redis_url, registry=registry, patience=0)
    await fleet.enqueue(Job("Sum", "app.add", (1, 2)))
    await fleet.aclose()

    try:
        assert await fleet.enqueue(Job("Sum", "app.add", (1, 2), id="again")) == "default.0.again"
    finally:
        await fleet.aclose()
