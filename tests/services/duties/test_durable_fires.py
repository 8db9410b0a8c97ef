"""Fires of durable recurring jobs: replicas confirm them, and a fire that is not confirmed counts all the same."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from jobfleet import AsyncFleet, Cron, Job
from jobfleet.codec import read_header
from jobfleet.config import JobConfig
from jobfleet.functions.manifest import function_record, read_function
from jobfleet.functions.registry import Registry
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.cron import Cron as CronDuty
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target
from tests.support.replicated import ReplicatedServer

LANE = Keyspace("jobfleet").lane("default", 0)
S = 1_000_000
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


@pytest.fixture(scope="module")
def servers() -> Iterator[ReplicatedServer]:
    with ReplicatedServer() as servers:
        yield servers


@pytest.fixture
async def duty(servers: ReplicatedServer) -> AsyncIterator[CronDuty]:
    """A duty whose clock is three seconds ahead, so that an entry by the second is due."""
    servers.primary.flush()
    store = AsyncStore(target(servers.url))
    config = JobConfig(url=servers.url, durability_timeout=0.1)
    yield CronDuty(store, config, Tally(), clock=lambda now: now + 3 * S)
    servers.replica.resume()
    await store.close()


async def headers(servers: ReplicatedServer) -> list[dict[str, Any]]:
    found: Any = list(servers.raw.scan_iter(f"{LANE.job_prefix}*"))
    stored: Any = [servers.raw.get(key) for key in found]
    return [dict(read_header(one)) for one in stored]


@pytest.mark.parametrize("by_queue", [False, True])
async def test_a_fire_has_the_level_of_its_function_or_its_queue(
    servers: ReplicatedServer, duty: CronDuty, by_queue: bool
) -> None:
    async with AsyncFleet(servers.url) as fleet:
        level: dict[str, Any] = {} if by_queue else {"durability": "replicated"}
        await fleet.cron.add("tick", "* * * * * *", Job("tick", "app.tick", **level))
        if by_queue:
            await fleet.set_durability("default", "replicated")
        before = servers.calls("wait")

        await duty.turn()

    fired = await headers(servers)
    assert {header["durability"] for header in fired} == {"replicated"}
    assert servers.calls("wait") >= before + len(fired) > before


async def test_a_fire_that_is_not_confirmed_counts_and_is_logged_once(
    servers: ReplicatedServer, duty: CronDuty, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncFleet(servers.url) as fleet:
        await fleet.cron.add("tick", "* * * * * *", Job("tick", "app.tick", durability="replicated"))
        servers.replica.pause()

        await duty.turn()

        history = await fleet.cron.history("tick")
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(history) >= 2
    assert len(await headers(servers)) == len(history)
    assert [line.split()[0] for line in lines if "redis" in line] == ["redis.uncertain"]


async def test_a_fast_fire_waits_for_nothing(servers: ReplicatedServer, duty: CronDuty) -> None:
    async with AsyncFleet(servers.url) as fleet:
        await fleet.cron.add("tick", "* * * * * *", Job("tick", "app.tick"))
        before = servers.calls("wait")

        await duty.turn()

    assert len(await headers(servers)) >= 2
    assert servers.calls("wait") == before


def test_the_level_of_a_recurring_function_is_published() -> None:
    registry = Registry()
    function = registry.register(lambda: None, name="app.tick", cron=Cron("@hourly"), durability="fsync")

    assert read_function(function_record(function))["durability"] == "fsync"
