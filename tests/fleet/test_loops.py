"""A blocking fleet that event loops use, one after the other."""

from __future__ import annotations

import asyncio

import redis

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from tests.support.waiting import wait_until


def test_a_loop_that_has_ended_leaves_no_connection(redis_url: str, raw: redis.Redis) -> None:
    registry = Registry()
    with Fleet(redis_url, registry=registry) as fleet:
        length = registry.register(len, name="test.length", fleet=fleet)

        async def enqueue() -> str:
            return (await length.aenqueue("abc")).id

        fleet.queues()
        before = len(raw.client_list())
        ids = [asyncio.run(enqueue()) for _ in range(5)]

        wait_until(lambda: len(raw.client_list()) == before, timeout=30, why="the connections of the loops have ended")
        assert [result is not None for result in fleet.poll_many(ids)] == [True] * 5
