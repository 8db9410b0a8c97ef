"""The cron duty and `@startup`: one fire per group of workers that start together."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Cron, Job
from jobfleet.codec import encode
from jobfleet.config import JobConfig
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.cron import Cron as CronDuty
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.presence import beat, know, leave
from tests.support.state import server_now

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
S = 1_000_000
GONE = 20 * S
KIND = "0123456789abcdef"


def warm() -> None:
    """Nothing."""


@pytest.fixture
def warming() -> JobFunction[..., Any, Any]:
    return Registry().register(warm, name="test.warm", cron="@startup", queue="cache")


class Fleet:
    """Starts workers by their heartbeats, and lets a reaper look."""

    def __init__(self, fleet: AsyncFleet, store: AsyncStore, redis_url: str, raw: redis.Redis) -> None:
        self.fleet = fleet
        self._keys = fleet.context.keys
        self._store = store
        self._url = redis_url
        self._raw = raw

    def second(self) -> int:
        """The beginning of a second that has passed, by Redis's clock in µs."""
        return server_now(self._raw) // S * S - 5 * S

    async def start(
        self, worker: str, *published: JobFunction[..., Any, Any], ago: int = 0, at: int | None = None
    ) -> None:
        joined = server_now(self._raw) - ago * S if at is None else at
        functions = {one.name: function_record(one) for one in published}
        account = encode({"joined": joined, "kinds": [KIND]})
        await self._store.run(
            know(self._keys, worker, KIND, gone_us=GONE, functions={"": "cache", "test.warm": "cache"})
        )
        await self._store.run(beat(self._keys, worker, account=account, gone_us=GONE, functions=functions))

    async def stop(self, worker: str) -> None:
        await self._store.run(leave(self._keys, worker, [KIND]))

    async def reap(self) -> list[str]:
        """Let a new reaper look; return the outcomes of all fires, oldest first."""
        await CronDuty(self._store, JobConfig(url=self._url), Tally()).turn()
        history = [fire for one in await self.fleet.cron() for fire in await self.fleet.cron.history(one.name)]
        return [fire.outcome for fire in sorted(history)]

    async def jobs(self) -> int:
        return len((await self.fleet.jobs(queue="cache")).jobs)


@pytest.fixture
def workers(fleet: AsyncFleet, store: AsyncStore, redis_url: str, raw: redis.Redis) -> Fleet:
    return Fleet(fleet, store, redis_url, raw)


async def test_workers_that_start_together_fire_once_though_reapers_restart(
    workers: Fleet, warming: JobFunction[..., Any, Any]
) -> None:
    await workers.start("w1", warming, ago=9)
    assert await workers.reap() == ["fired"]
    await workers.start("w2", warming, ago=3)
    await workers.start("w3", warming)

    assert await workers.reap() == ["fired"]
    assert await workers.reap() == ["fired"]
    assert await workers.jobs() == 1
    (info,) = await workers.fleet.cron()
    assert (info.name, info.next, info.cron.is_startup, info.queue) == ("test.warm", None, True, "cache")


async def test_a_start_after_the_others_have_left_fires_again(
    workers: Fleet, warming: JobFunction[..., Any, Any]
) -> None:
    await workers.start("w1", warming, ago=9)
    await workers.reap()
    await workers.stop("w1")

    await workers.start("w2", warming)

    assert await workers.reap() == ["fired", "fired"]
    assert await workers.jobs() == 2


async def test_starts_within_a_second_are_one_fire_in_the_history_too(
    workers: Fleet, warming: JobFunction[..., Any, Any]
) -> None:
    second = workers.second()
    await workers.start("w1", warming, at=second + 100_000)
    assert await workers.reap() == ["fired"]
    await workers.start("w2", warming, at=second + 600_000)

    assert await workers.reap() == ["fired"]
    assert await workers.reap() == ["fired"]
    assert await workers.jobs() == 1


async def test_a_start_in_the_second_of_a_worker_that_has_left_has_a_job_of_its_own(
    workers: Fleet, warming: JobFunction[..., Any, Any]
) -> None:
    second = workers.second()
    await workers.start("w1", warming, at=second + 100_000)
    await workers.reap()
    await workers.stop("w1")

    await workers.start("w2", warming, at=second + 600_000)

    assert await workers.reap() == ["fired", "fired"]
    assert await workers.jobs() == 2


async def test_a_start_that_no_reaper_saw_fires_late(workers: Fleet, warming: JobFunction[..., Any, Any]) -> None:
    await workers.start("w1", warming, ago=1800)

    assert await workers.reap() == ["late"]
    assert await workers.jobs() == 1


async def test_a_start_during_a_pause_does_not_fire_later(workers: Fleet, warming: JobFunction[..., Any, Any]) -> None:
    await workers.start("w1", warming, ago=100)
    await workers.reap()
    await workers.fleet.cron.pause("test.warm")
    await workers.start("w2", warming)
    await workers.reap()

    await workers.fleet.cron.resume("test.warm")

    assert await workers.reap() == ["late"]
    assert await workers.jobs() == 1


async def test_an_added_entry_fires_for_later_starts_only(workers: Fleet, warming: JobFunction[..., Any, Any]) -> None:
    await workers.start("w1", ago=5)
    await workers.fleet.cron.add("warm", Cron("@startup"), Job("warm", "test.warm", queue="cache"))
    assert await workers.reap() == []

    await workers.start("w2")

    assert await workers.reap() == ["fired"]
    assert await workers.jobs() == 1


@pytest.mark.parametrize(
    "account", [b"\xff", encode(7), encode({"joined": "x", "kinds": 7}), encode({"joined": 1 << 62})]
)
async def test_an_account_that_cannot_be_read_is_not_a_start(
    workers: Fleet, store: AsyncStore, warming: JobFunction[..., Any, Any], account: bytes
) -> None:
    await workers.start("w1", warming, ago=9)
    await store.run(beat(workers.fleet.context.keys, "w2", account=account, gone_us=GONE))

    assert await workers.reap() == ["fired"]
