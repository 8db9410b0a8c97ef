"""The claimer alone, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Claimed
from jobfleet.worker.child.claimer import Claimer
from tests.support.run_events import QuietEvents
from tests.support.waiting import await_until, wait_until
from tests.worker.child.claiming import LANE, OTHER, Scene
from tests.worker.conftest import Working

pytestmark = pytest.mark.not_on("cluster", reason="it watches a link to one server; e2e/test_clusters.py has clusters")

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


def enqueue_before_the_loop_runs(scene: Scene) -> str:
    """Enqueue from another thread while this one waits, so that the claimer has not read the reply to its wait."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(scene.function.enqueue).result().id


async def test_a_marker_that_a_wait_has_taken_is_put_back_when_the_child_stops_claiming(
    fleet: Fleet, registry: Registry, raw: redis.Redis
) -> None:
    """Redis has removed the marker, but its reply is not read any more. Another child must be woken."""
    scene = Scene(fleet, registry, raw, slots=10)
    await scene.start()
    enqueue_before_the_loop_runs(scene)
    assert not raw.exists(LANE.wake)

    await scene.claimer.quiet()
    await scene.store.close()

    assert raw.exists(LANE.wake)
    assert scene.taken == []


async def test_a_marker_that_a_wait_has_taken_is_not_lost_when_the_child_serves_another_queue(
    fleet: Fleet, registry: Registry, raw: redis.Redis
) -> None:
    scene = Scene(fleet, registry, raw, slots=10)
    await scene.start()
    job = enqueue_before_the_loop_runs(scene)
    scene.claimer.serve((LANE, OTHER))
    await scene.until(lambda: job in scene.taken, why="it is admitted")
    await scene.claimer.quiet()
    await scene.store.close()


async def test_a_lane_that_is_not_served_any_more_blocks_no_claim(
    fleet: Fleet, registry: Registry, raw: redis.Redis
) -> None:
    scene = Scene(fleet, registry, raw, slots=10)
    scene.claimer.serve((LANE, OTHER))
    scene.claimer.start()
    await scene.until(scene.is_blocking, why="it waits")
    scene.claimer.serve((LANE,))
    scene.claimer.doubt(OTHER)  # as the end of a job of that lane does, which is put back
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.taken, why="it is admitted")
    await scene.claimer.quiet()
    await scene.store.close()


class Ending(QuietEvents):
    """Has ten slots; jobs end in the next turn of the event loop."""

    claimer: Claimer

    def __init__(self) -> None:
        self.claims: list[int] = []
        self.free = 10

    def admitted(self, lane: Lane, claimed: Claimed, until: float) -> None:
        count = len(claimed.grants)
        self.claims.append(count)
        self.free -= count
        asyncio.get_running_loop().call_soon(self.end, count)

    def end(self, count: int) -> None:
        self.free += count
        self.claimer.changed()


def test_slots_of_jobs_that_end_at_once_are_claimed_together(fleet: Fleet, registry: Registry) -> None:
    function = registry.register(lambda: None, name="test.none", fleet=fleet)
    for _ in range(48):
        function.enqueue()
    jobs = Ending()

    async def is_empty() -> bool:
        return jobs.claimer.is_empty

    async def main() -> None:
        store = AsyncStore(fleet.store.at, patience=None)
        jobs.claimer = claimer = Claimer(store, fleet.config, child="w.1", free=lambda: jobs.free, events=jobs)
        claimer.serve((LANE,))
        claimer.start()
        await await_until(is_empty, timeout=30, why="all are claimed")
        await claimer.quiet()
        await store.close()

    asyncio.run(main())

    assert [count for count in jobs.claims if count] == [8, 10, 10, 10, 10]  # and not 8, 2, 8, 2, …
