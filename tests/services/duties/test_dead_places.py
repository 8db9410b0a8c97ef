"""A place within a named limit is free soon after its run has died, though no job waits for one."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.model.limits import Demand
from jobfleet.services.duties.retention import Retention
from jobfleet.services.places import HELD_US
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.limits import Passing, pass_gates
from tests.services.duties.test_relay import DEFAULT, KEYS, Player, job
from tests.services.keeping import fleet  # noqa: F401 - a fixture

API = Demand("limit:api")


def let_time_pass(raw: redis.Redis, inside: str) -> None:
    """Let the runs inside have passed so long ago that their processes may have died."""
    rows: Any = raw.zrange(inside, 0, -1, withscores=True)
    raw.zadd(inside, {holder: passed - HELD_US - 1 for holder, passed in rows})


async def test_places_of_dead_runs_are_freed_and_those_of_live_runs_stay(
    raw: redis.Redis,
    store: AsyncStore,
    redis_url: str,
    fleet: AsyncFleet,  # noqa: F811 - the fixture
) -> None:
    await fleet.limits.named("api", concurrency=1100)
    with pytest.warns(UserWarning, match="No worker has published"):
        await fleet.enqueue(job())
    ((_, job_id, token),) = await Player(store).claim(DEFAULT)
    dead = [Passing(f"default.0.dead-{number}", 7, (API,)) for number in range(1010)]  # more than one page
    for at in range(0, len(dead), 50):
        await store.run(pass_gates(KEYS, "c1", dead[at : at + 50]))
    alive, fresh = Passing(job_id, token, (API,)), Passing("default.0.fresh", 7, (API,))
    await store.run(pass_gates(KEYS, "c1", [alive]))
    inside = KEYS.inside(API.gate)
    let_time_pass(raw, inside)
    await store.run(pass_gates(KEYS, "c1", [fresh]))  # its run may be so new that its lease is not seen

    await Retention(store, KEYS, JobConfig(url=redis_url), Tally()).turn()

    assert sorted(raw.zrange(inside, 0, -1)) == sorted([alive.holder.encode(), fresh.holder.encode()])
    assert [(one.name, one.running) for one in await fleet.limits.all_named()] == [("api", 2)]


async def test_a_breaker_counts_the_death_of_a_run(raw: redis.Redis, store: AsyncStore, redis_url: str) -> None:
    breaker = Demand("breaker:function:app.send", words="0.5 4 2 60000000 1000000")
    await store.run(pass_gates(KEYS, "c1", [], look=[breaker]))
    raw.hset(KEYS.gate(breaker.gate), mapping={"state": "half", "words": breaker.words})
    raw.zadd(KEYS.gates, {breaker.gate: 2e15})
    await store.run(pass_gates(KEYS, "c1", [Passing("default.0.dead", 7, (breaker,))]))
    inside = KEYS.inside(breaker.gate)
    assert raw.zcard(inside) == 1
    let_time_pass(raw, inside)

    await Retention(store, KEYS, JobConfig(url=redis_url), Tally()).turn()

    assert raw.exists(inside) == 0
    assert raw.hget(KEYS.gate(breaker.gate), "state") == b"open"
