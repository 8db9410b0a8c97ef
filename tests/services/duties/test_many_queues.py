"""A fleet of thousands of queue names, as anyone who writes to Redis can make it: duties stay cheap and find work."""

from __future__ import annotations

from typing import Any

import redis

from jobfleet import Fleet
from jobfleet.codec import encode
from jobfleet.codec.frames import seal
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.lanes import FEW, SLICE
from jobfleet.services.duties.leases import LOOK_EVERY, Leases
from jobfleet.services.duties.relay import Relay
from jobfleet.services.duties.retention import Retention
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.inspect import LISTED
from jobfleet.store.calls.presence import beat
from jobfleet.store.fleet import FleetReader, read_whole
from jobfleet.store.keys import Keyspace
from tests.support.seed import Seed
from tests.support.waiting import await_until

KEYS = Keyspace("jobfleet")
MANY = 5_000


def names(raw: redis.Redis, count: int) -> None:
    raw.hset(KEYS.queues, mapping={f"raw-{number}": "1:1" for number in range(count)})


async def serve(store: AsyncStore, queue: str) -> None:
    account = encode({"queues": [queue]})
    await store.run(beat(KEYS, "here:1:a", account=account, gone_us=10**8, serves=[queue]))


def calls(raw: redis.Redis) -> dict[str, int]:
    stats: dict[str, Any] = raw.info("commandstats")
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}


async def test_a_beat_reads_the_queues_that_it_serves_and_no_others(raw: redis.Redis, store: AsyncStore) -> None:
    names(raw, MANY)
    raw.config_resetstat()

    present = await store.run(beat(KEYS, "w", account=b"", gone_us=10**7, serves=["raw-7", "new"]))

    assert present.queues == {"raw-7": (1, 1)}
    assert not {"hgetall", "hscan"} & calls(raw).keys()


async def test_idle_duties_neither_read_all_names_nor_tick_all_lanes(
    raw: redis.Redis, store: AsyncStore, redis_url: str
) -> None:
    names(raw, MANY + 1)
    await serve(store, "raw-1")
    config = JobConfig(url=redis_url)
    leases, relay = Leases(store, KEYS, config, Tally()), Relay(store, KEYS, config, Tally())
    for duty in (leases, relay):
        await duty.turn()
    raw.config_resetstat()

    for _ in range(LOOK_EVERY):
        await leases.turn()
        await relay.turn()

    made = calls(raw)
    assert made["exists"] == 2 * LOOK_EVERY * SLICE
    assert "hscan" not in made
    assert made["evalsha"] == LOOK_EVERY  # ticks of the one lane that is served
    assert made["evalsha_ro"] == 1 + 2 * LOOK_EVERY  # looks of both, and the outbox of that lane


async def test_a_lease_that_has_run_out_in_a_queue_that_nobody_serves_is_found(
    raw: redis.Redis, store: AsyncStore, redis_url: str
) -> None:
    names(raw, MANY)
    lane = KEYS.lane("raw-4321", 0)
    seed = Seed(raw, lane)
    job_id = seed.running("a", 1, child="gone:1:a.1", deadline=-10)
    raw.set(lane.job(job_id), seal({"function": "test.fine"}))
    seed.ticked()
    leases = Leases(store, KEYS, JobConfig(url=redis_url), Tally())

    for _ in range(MANY // SLICE + 1):
        await leases.turn()

    assert (raw.zcard(lane.lease), raw.zcard(lane.ready[2])) == (0, 1)


async def test_few_lanes_are_all_seen_to_in_each_turn(raw: redis.Redis, store: AsyncStore, redis_url: str) -> None:
    names(raw, FEW)
    leases = Leases(store, KEYS, JobConfig(url=redis_url), Tally())
    await leases.turn()
    raw.config_resetstat()

    await leases.turn()

    assert calls(raw).get("evalsha") == FEW


async def test_a_name_that_is_new_among_many_is_learnt(raw: redis.Redis, store: AsyncStore) -> None:
    names(raw, LISTED + 1)
    reader = FleetReader(store, KEYS)
    assert len((await reader.look()).queues) == LISTED + 1
    raw.hset(KEYS.queues, "late", "2:2")

    async def is_known() -> bool:
        return "late" in (await reader.look()).queues

    await await_until(is_known, timeout=30, why="the new name is read")


async def test_what_old_lanes_keep_is_trimmed_among_many(raw: redis.Redis, store: AsyncStore, redis_url: str) -> None:
    names(raw, MANY)
    lane = KEYS.lane("raw-4999", 0)
    raw.xadd(lane.done, {"jobs": "a co 1"}, id="1-1")
    raw.config_resetstat()

    await Retention(store, KEYS, JobConfig(url=redis_url), Tally()).turn()

    assert raw.xlen(lane.done) == 0
    assert calls(raw)["evalsha"] == 1


def test_all_of_many_queues_are_listed_and_doctor_sees_them(raw: redis.Redis, redis_url: str) -> None:
    names(raw, LISTED + 200)

    with Fleet(redis_url) as fleet:
        assert len(fleet.queues()) == LISTED + 200
        assert len(read_whole(fleet.store, KEYS).queues) == LISTED + 200
