"""What a worker concludes from the replies to its heartbeats."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import redis

from jobfleet.config import JobConfig
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import JobDecorator, Registry
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target
from jobfleet.worker.ipc.protocol import kind_of
from jobfleet.worker.supervisor.heartbeat import Heartbeat

KEYS = Keyspace("jobfleet")
WORKER = "worker:1:a"


class Delayed(AsyncStore):
    """A connection whose first request is on its way until it is let go.

    Attributes:
        begun: How many requests have begun.
        go: Lets the first one go.
    """

    def __init__(self, url: str) -> None:
        super().__init__(target(url))
        self.begun = 0
        self.go = asyncio.Event()

    async def run(self, call: Call[Any], **options: Any) -> Any:
        self.begun += 1
        if self.begun == 1:
            await self.go.wait()
        return await super().run(call, **options)


async def test_a_beat_that_is_late_is_no_loss_of_data(
    redis_url: str, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "jobfleet.worker")
    forgotten: list[None] = []
    store = Delayed(redis_url)
    heart = Heartbeat(store, KEYS, JobConfig(url=redis_url), WORKER, on_forgotten=lambda: forgotten.append(None))

    @JobDecorator(registry)(name="app.send")
    def send_mail() -> None: ...

    about: dict[str, Any] = {"queues": ["default"], "slots": 1, "running": 0, "children": 1, "state": "running"}

    async def send() -> None:
        await heart.beat(**about, processes=[])

    early = asyncio.create_task(send())
    while store.begun == 0:
        await asyncio.sleep(0)
    heart.publish({"app.send": function_record(send_mail)})
    late = asyncio.create_task(send())
    for _ in range(100):  # as long as the loop needs to begin what it can
        await asyncio.sleep(0)
    assert store.begun == 1, "the second beat overtakes the first one"
    store.go.set()
    await asyncio.gather(early, late)
    await send()

    assert (forgotten, [record.message for record in caplog.records]) == ([], [])
    await store.close()


class Answerless(AsyncStore):
    """A connection that keeps the first reply back: its request has arrived.

    Attributes:
        arrived: Whether it has.
    """

    def __init__(self, url: str) -> None:
        super().__init__(target(url))
        self.arrived = asyncio.Event()

    async def run(self, call: Call[Any], **options: Any) -> Any:
        found = await super().run(call, **options)
        if not self.arrived.is_set():
            self.arrived.set()
            await asyncio.Event().wait()
        return found


async def test_a_worker_that_ends_during_its_first_beat_leaves_no_kind(
    redis_url: str, raw: redis.Redis, registry: Registry
) -> None:
    store = Answerless(redis_url)
    heart = Heartbeat(store, KEYS, JobConfig(url=redis_url), WORKER)
    telling = asyncio.create_task(heart.know([kind_of(registry.functions, ("default",))]))
    await store.arrived.wait()
    telling.cancel()
    await asyncio.wait([telling])

    await heart.leave()

    assert raw.zrange(KEYS.kinds, 0, -1) == raw.keys("*:knowers:*") == []
    await store.close()
