"""A function with `keep_last`, and a worker and a retention duty that a test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
import redis

from jobfleet import AsyncFleet
from jobfleet.codec.frames import seal_record
from jobfleet.config import JobConfig
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import JobDecorator, JobFunction, Registry
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.retention import Retention
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import settle
from jobfleet.store.keys import Lane
from tests.services.duties.test_relay import DEFAULT, KEYS, Player

LONG_AGO = 1000
Turn = Callable[[], Awaitable[None]]
Report = JobFunction[..., Any, Any]
Run = Callable[..., Awaitable[list[str]]]


@pytest.fixture
async def fleet(redis_url: str, registry: Registry) -> AsyncIterator[AsyncFleet]:
    async with AsyncFleet(redis_url, registry=registry) as fleet:
        yield fleet


@pytest.fixture
def report(registry: Registry, raw: redis.Redis) -> Report:
    """A function that keeps its last two results, as a worker has published it."""

    @JobDecorator(registry)(name="app.report", keep_last=2)
    def report(number: int = 0) -> int:
        return number

    raw.hset(KEYS.functions, "app.report", function_record(report))
    return report


@pytest.fixture
def turn(store: AsyncStore, redis_url: str) -> Turn:
    """One turn of the duty of a reaper."""

    async def turn() -> None:
        await Retention(store, KEYS, JobConfig(url=redis_url), Tally()).turn()

    return turn


async def complete(
    store: AsyncStore, player: Player, *lanes: Lane, value: object = None, ttl_ms: int = 86_400_000
) -> list[str]:
    """Complete all jobs that are due; return their ids."""
    claimed = await player.claim(*(lanes or (DEFAULT,)))
    record = seal_record({"function": "app.report", "value": value})
    for lane, job_id, token in claimed:
        item = settle.complete(job_id, token, record=record, ttl_ms=ttl_ms, duration_us=1)
        await store.run(settle.settle(lane, [item]))
    return [job_id for _, job_id, _ in claimed]


async def states(fleet: AsyncFleet, *ids: str) -> list[str]:
    return [str(row.status) if row is not None else "gone" for row in await fleet.poll_many(ids)]


def keys_of(raw: redis.Redis, job_id: str) -> list[bytes]:
    """All keys that have the id of a job in their name."""
    return cast(list[bytes], raw.keys(f"*{job_id}"))


def indexed(raw: redis.Redis, lane: Lane = DEFAULT) -> list[str]:
    """The index of the function."""
    return [job_id.decode() for job_id in cast(list[bytes], raw.zrange(lane.index_of("keep:app.report"), 0, -1))]


@pytest.fixture
def run(fleet: AsyncFleet, store: AsyncStore, player: Player, report: Report) -> Callable[..., Awaitable[list[str]]]:
    """Enqueue and complete some jobs of the function, one after the other; return their ids."""

    async def run(number: int, **options: Any) -> list[str]:
        ids: list[str] = []
        for place in range(number):
            ids.append(await fleet.enqueue(report.options(**options).job(place)))
            await complete(store, player, value=place)
        return ids

    return run
