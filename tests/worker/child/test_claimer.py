"""The claimer alone, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import redis

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Claimed
from jobfleet.worker.child.claimer import Claimer
from tests.support.run_events import QuietEvents
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)
FIRST, SECOND = (Keyspace("jobfleet").lane(queue, 0) for queue in ("a", "b"))


class Heating(AsyncStore):
    """Makes the first lane hot when the second one's marker was taken, as a due time that comes just then would."""

    claimer: Claimer

    async def wait_wake(self, lanes: Sequence[Lane], timeout: float, kind: str = "") -> Lane | None:
        lane = await super().wait_wake(lanes, timeout, kind)
        if lane == SECOND:
            self.claimer.heat(FIRST)
        return lane


def test_a_claim_is_owed_to_a_lane_also_when_one_before_it_took_the_last_slot(
    fleet: Fleet, registry: Registry, raw: redis.Redis
) -> None:
    function = registry.register(lambda: None, name="test.none", queue="b", fleet=fleet)
    admitted: list[str] = []
    asked = 0

    def free() -> int:
        nonlocal asked
        asked += 1
        assert asked < 10_000, "it asks for room without end, and lets nobody else come to"
        return 1 - len(admitted)

    class Admitting(QuietEvents):
        def admitted(self, lane: Lane, claimed: Claimed, until: float) -> None:
            admitted.extend(grant.id for grant in claimed.grants)

    async def main() -> None:
        store = Heating(fleet.store.at, patience=None)
        claimer = Claimer(store, fleet.config, child="w.1", free=free, events=Admitting())
        store.claimer = claimer
        claimer.serve((FIRST, SECOND))
        claimer.start()
        while not claimer.is_empty:
            await asyncio.sleep(0.01)
        raw.zadd(FIRST.ready[2], {"a.0.1": 1, "a.0.2": 1})  # without a marker: the second one's is to be taken
        await asyncio.to_thread(function.enqueue)
        async with asyncio.timeout(30):
            while not (admitted and raw.exists(SECOND.wake)):
                await asyncio.sleep(0.01)
        await claimer.quiet()
        await store.close()

    asyncio.run(main())

    assert len(admitted) == 1
    assert admitted[0].startswith("a.")
    assert raw.zcard(SECOND.ready[2]) == 1


def test_a_marker_that_cannot_be_waited_for_is_said_aloud_and_jobs_are_claimed_all_the_same(
    fleet: Fleet, registry: Registry, raw: redis.Redis, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    """A list in its place answers as lanes on different slots of a cluster do: with an error that no retry mends."""
    function = registry.register(lambda: 7, name="test.seven", fleet=fleet)
    raw.rpush(LANE.wake, "no marker")
    with working():
        wait_until(lambda: "claim.deaf" in caplog.text, timeout=30, why="it says so")
        raw.delete(LANE.wake)
        assert function.enqueue().wait(timeout=30).result == 7
