"""What the start of a worker says of its server."""

from __future__ import annotations

import pytest

from jobfleet.config import JobConfig
from jobfleet.store.aio import AsyncStore
from jobfleet.store.target import target_of
from jobfleet.worker.supervisor.start_report import StartReport
from tests.support.sentinel import STAY_MS, SentinelServers


async def test_a_primary_that_goes_on_without_its_replicas_is_named_at_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def lines(config: JobConfig) -> list[str]:
        caplog.clear()
        store = AsyncStore(target_of(config))
        await StartReport(config, "w1", ("shop",), store.at.shown).ready({}, ("default",), store)
        await store.close()
        return [record.getMessage().split()[0] for record in caplog.records if record.levelname == "WARNING"]

    with SentinelServers(down_after_ms=STAY_MS) as group:
        unguarded = await lines(JobConfig(url=group.url))
        replicated = await lines(JobConfig(url=group.url, durability="replicated"))
        direct = await lines(JobConfig(url=group.primary.url))  # who would fail over is unknown
        group.primary.client().config_set("min-replicas-to-write", 1)
        guarded = await lines(JobConfig(url=group.url))

    assert (unguarded, replicated, direct, guarded) == (["redis.unguarded"], [], [], [])
