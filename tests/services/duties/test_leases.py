"""The leases duty: what is overdue is settled once, and nobody is judged after an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import redis

from jobfleet.codec.frames import seal
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.leases import Leases, shared_spacing
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.calls.presence import beat
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target
from tests.support.seed import Seed
from tests.support.waiting import await_until

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("mail", 0)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[AsyncStore]:
    store = AsyncStore(target(redis_url))
    await store.run(open_queue(KEYS, "mail", 1))
    yield store
    await store.close()


def duty(store: AsyncStore, redis_url: str, **settings: Any) -> Leases:
    return Leases(store, KEYS, JobConfig(url=redis_url, **settings), Tally())


def overdue(raw: redis.Redis, *names: str, child: str = "gone:1:a.1") -> list[str]:
    seed = Seed(raw, LANE)
    ids = []
    for token, name in enumerate(names, start=1):
        ids.append(seed.running(name, token, child=child, deadline=-10))
        raw.set(LANE.job(ids[-1]), seal({"function": "test.fine"}))
    return ids


def counted(raw: redis.Redis, job_id: str) -> str:
    text = raw.hget(LANE.tries, job_id)
    return text.decode().partition("\n")[0] if isinstance(text, bytes) else ""


async def test_runs_whose_worker_is_gone_have_witnessed_a_death_and_are_charged_nothing(
    raw: redis.Redis, store: AsyncStore, redis_url: str
) -> None:
    ids = overdue(raw, "a", "b") + overdue(raw, "c", child="gone:1:a.2") + overdue(raw, "d", child="other:1:a.1")
    Seed(raw, LANE).ticked()

    await duty(store, redis_url, max_crashes=1).turn()

    assert [counted(raw, job_id) for job_id in ids] == [*["0:0:0:0:1:3"] * 3, "0:0:0:0:1:1"]
    assert raw.zcard(LANE.ready[2]) == 4
    assert raw.hlen(LANE.dead) == 0


async def test_a_run_whose_worker_is_there_counts_as_a_preemption(
    raw: redis.Redis, store: AsyncStore, redis_url: str
) -> None:
    await store.run(beat(KEYS, "here:1:a", account=b"", gone_us=10**7, functions={}))
    (job_id,) = overdue(raw, "a", child="here:1:a.1")
    Seed(raw, LANE).ticked()

    await duty(store, redis_url, max_crashes=1).turn()

    assert counted(raw, job_id) == "0:0:1:0:0"


async def test_a_suspect_that_ran_alone_in_the_process_that_is_gone_is_charged(
    raw: redis.Redis, store: AsyncStore, redis_url: str
) -> None:
    (job_id,) = overdue(raw, "a", child="caller:1:a.0")
    raw.hset(LANE.tries, job_id, "0:0:0:0:3:1")
    Seed(raw, LANE).ticked()

    await duty(store, redis_url, max_crashes=1).turn()

    assert raw.hexists(LANE.dead, job_id)
    ((_, letter),) = cast(list[Any], raw.xrange(LANE.dlq))
    assert letter[b"reason"] == b"expired-lease"


@pytest.mark.parametrize(
    ("child", "tries", "after"),
    [
        ("gone:1:a.1", "0:0:0:0:3:1", "0:0:0:0:4:1"),  # its supervisor is gone as well, which no job of it ends
        ("caller:1:a.0", "0:0:0:0:3:2", "0:0:0:0:4:1"),  # another one may have run beside it
        ("caller:1:a.0", "0:0:0:0:1:1", "0:0:0:0:2:1"),
    ],
)
async def test_without_certainty_nobody_is_charged_for_a_worker_that_is_gone(
    raw: redis.Redis, store: AsyncStore, redis_url: str, child: str, tries: str, after: str
) -> None:
    (job_id,) = overdue(raw, "a", child=child)
    raw.hset(LANE.tries, job_id, tries)
    Seed(raw, LANE).ticked()

    await duty(store, redis_url, max_crashes=1).turn()

    assert raw.hlen(LANE.dead) == 0
    assert counted(raw, job_id) == after


async def test_nobody_is_judged_after_an_outage(raw: redis.Redis, store: AsyncStore, redis_url: str) -> None:
    ids = overdue(raw, "a", "b")
    Seed(raw, LANE).ticked(ago=60)  # nobody ticked for a minute
    leases = duty(store, redis_url)

    for _ in range(3):
        await leases.turn()

    assert raw.zcard(LANE.lease) == len(ids)
    assert raw.hlen(LANE.tries) == 0


async def test_many_who_look_at_once_settle_each_run_once(raw: redis.Redis, store: AsyncStore, redis_url: str) -> None:
    ids = overdue(raw, *(f"j{number}" for number in range(120)))
    Seed(raw, LANE).ticked()
    watchers = [duty(store, redis_url) for _ in range(5)]

    for _ in range(4):
        await asyncio.gather(*(watcher.turn() for watcher in watchers))

    assert raw.zcard(LANE.lease) == 0
    assert {counted(raw, job_id).rpartition(":")[0] for job_id in ids} == {"0:0:0:0:1"}
    assert raw.zcard(LANE.ready[2]) == 120


async def test_one_broken_lane_does_not_hold_up_the_others(raw: redis.Redis, store: AsyncStore, redis_url: str) -> None:
    await store.run(open_queue(KEYS, "aaa", 1))  # looked at first
    raw.set(KEYS.lane("aaa", 0).lease, "no sorted set")
    (job_id,) = overdue(raw, "a")
    Seed(raw, LANE).ticked()
    leases = duty(store, redis_url)

    leases.start()

    async def settled() -> bool:
        return bool(counted(raw, job_id))

    try:
        await await_until(settled, timeout=20, why="the run in the other lane is settled")
    finally:
        await leases.stop()


async def test_what_nobody_started_in_time_is_let_go(raw: redis.Redis, store: AsyncStore, redis_url: str) -> None:
    seed = Seed(raw, LANE)
    job_id = seed.waiting("late", due=100, expires=-10)
    seed.ticked()

    await duty(store, redis_url).turn()

    assert raw.zcard(LANE.ready[2]) == 0
    assert str(raw.get(LANE.result(job_id))).startswith("b'expired")


async def test_a_duty_that_stumbles_goes_on() -> None:
    turns: list[int] = []

    class Stumbling(Service):
        name = "stumbling"

        async def turn(self) -> float:
            turns.append(len(turns))
            if len(turns) == 1:
                raise ValueError("a bad record")
            return 0.01

    stumbling = Stumbling(Tally())
    stumbling.start()

    async def went_on() -> bool:
        return len(turns) > 2

    await await_until(went_on, timeout=20, why="it goes on")
    await stumbling.stop()
    await stumbling.stop()


@pytest.mark.parametrize(
    ("workers", "lease", "spacing"),
    [
        (0, 30, 1.0),
        (1, 30, 1.0),
        (2, 30, 2.0),
        (3, 30, 2.5),
        (50, 30, 2.5),
        (200, 30, 10.0),
        (2, 6, 1.0),
    ],
)
def test_workers_that_share_the_duty_leave_no_gap_that_holds_the_leases(
    workers: int, lease: float, spacing: float
) -> None:
    assert shared_spacing(workers, lease) == spacing


async def test_a_fleets_first_queue_is_seen_to_with_the_next_turn(redis_url: str, raw: redis.Redis) -> None:
    store = AsyncStore(target(redis_url))
    leases = duty(store, redis_url)
    await leases.turn()

    await store.run(open_queue(KEYS, "mail", 1))
    await leases.turn()

    await store.close()
    assert raw.hexists(LANE.lane, "seen")
