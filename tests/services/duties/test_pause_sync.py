"""What is paused everywhere reaches lanes that came into being since, and what was half resumed is finished."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Job, JobStatus
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.lanes import catch_up
from jobfleet.services.duties.leases import Leases
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.control import pause_function, read_functions, resume_function
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.settle import settle, withhold
from jobfleet.store.keys import Keyspace

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)


def functions(raw: redis.Redis, lane: Any = LANE) -> set[str]:
    """What a lane has paused, all words told."""
    text = raw.hget(lane.conf, "functions")
    return set(read_functions(text.decode())) if isinstance(text, bytes) else set()


async def test_a_lane_that_came_later_is_told_by_the_leases_duty(
    store: AsyncStore, fleet: AsyncFleet, raw: redis.Redis, redis_url: str
) -> None:
    await fleet.pause(function="mail.send", by="ann", reason="a bug")
    await store.run(open_queue(KEYS, "default", 2))
    assert functions(raw) == set()

    await Leases(store, KEYS, JobConfig(url=redis_url), Tally()).turn()

    for index in range(2):
        text: Any = raw.hget(KEYS.lane("default", index).conf, "functions")
        assert text.startswith(b"mail.send ann@")
        assert text.endswith(b" a bug")


async def test_what_was_resumed_since_the_duty_looked_stays_so(
    store: AsyncStore, fleet: AsyncFleet, raw: redis.Redis, redis_url: str
) -> None:
    await store.run(open_queue(KEYS, "default", 1))
    await fleet.pause(function="mail.send")
    duty = Leases(store, KEYS, JobConfig(url=redis_url), Tally())
    await duty.turn()
    await fleet.resume(function="mail.send")

    await duty.turn()  # which goes by what it saw of the fleet the time before

    assert functions(raw) == set()


class Meddler:
    """A store before whose second look at what is paused the operator resumes it."""

    def __init__(self, store: AsyncStore, fleet: AsyncFleet) -> None:
        self._store = store
        self._fleet = fleet
        self._looks = 0
        self.run_many = store.run_many

    async def run(self, call: Any) -> Any:
        if call.script.name == "paused":
            self._looks += 1
            if self._looks == 2:
                await self._fleet.resume(function="mail.send")
        return await self._store.run(call)


async def test_a_resume_in_the_very_moment_is_not_undone(
    store: AsyncStore, fleet: AsyncFleet, raw: redis.Redis
) -> None:
    await fleet.pause(function="mail.send")
    await store.run(open_queue(KEYS, "default", 1))
    meddler: Any = Meddler(store, fleet)

    await catch_up(meddler, KEYS, [LANE])

    assert functions(raw) == set()
    assert raw.hgetall(LANE.conf) == {}


@pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
async def test_a_resume_that_was_begun_is_finished_by_the_next_tick(
    store: AsyncStore, fleet: AsyncFleet, raw: redis.Redis, redis_url: str
) -> None:
    ids = [await fleet.enqueue(Job("x", "mail.send")) for _ in range(3)]
    other = await fleet.enqueue(Job("x", "bill"))
    for name in ("mail.send", "bill"):
        await store.run(pause_function(LANE, name, by="ann"))
    grants = (await store.run(claim(LANE, child="w.1", nonce=1, lease_us=10**8, limit=9))).grants
    items = [
        withhold(grant.id, grant.token, due=grant.due, function="bill" if grant.id == other else "mail.send")
        for grant in grants
    ]
    assert (await store.run(settle(LANE, items))).letters == "ssss"
    await store.run(resume_function(LANE, "mail.send"))

    await Leases(store, KEYS, JobConfig(url=redis_url), Tally()).turn()

    ready: Any = raw.zrangebyscore(LANE.ready[2], "-inf", 2 * 10**15)
    assert [job_id.decode() for job_id in ready] == ids
    assert raw.exists(LANE.wake)
    assert functions(raw) == {"bill"}
    assert b"~" not in (raw.hget(LANE.conf, "functions") or b"")
    assert (await fleet.poll(other)).status is JobStatus.QUEUED
