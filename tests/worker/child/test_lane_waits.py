"""The waits of a child for lanes of a cluster, on a real server: there are more lanes than waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis

from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.target import target
from jobfleet.worker.child import lanes as lane_waits
from jobfleet.worker.child.lanes import MOST, LaneWaits
from tests.support.waiting import await_until

MANY = 3 * MOST - 8
LANES = [Keyspace("jobfleet").lane("wide", index) for index in range(MANY)]
LONG = 60.0


class Scene:
    """The waits of a child, and the lanes that are owed a claim."""

    def __init__(self, store: AsyncStore, raw: redis.Redis) -> None:
        self.taken: list[Lane] = []
        self.waits = LaneWaits(store, LONG, self.taken.append)
        self._raw = raw

    def mark(self, *lanes: Lane) -> None:
        for lane in lanes:
            self._raw.zadd(lane.wake, {"1": 1})

    def count(self) -> int:
        """How many waits the server knows."""
        return int(self._raw.info("clients")["blocked_clients"])

    async def until_taken(self, wanted: set[Lane], lanes: list[Lane]) -> None:
        async def are_taken() -> bool:
            await self.waits.any(lanes, "", without=())
            assert self.count() <= MOST
            return wanted <= set(self.taken)

        await await_until(are_taken, why="each marker is taken")


@pytest.fixture
async def scene(redis_url: str, raw: redis.Redis) -> AsyncIterator[Scene]:
    store = AsyncStore(target(redis_url))
    made = Scene(store, raw)
    yield made
    made.waits.cancel()
    await store.close()


async def test_more_lanes_than_waits_are_waited_for_in_rotation(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_waits, "TURN", 0.02)
    wanted = {LANES[0], LANES[MOST], LANES[-1]}
    scene.mark(*wanted)

    await scene.until_taken(wanted, LANES)
    assert sorted(scene.taken, key=LANES.index) == [LANES[0], LANES[MOST], LANES[-1]]

    scene.taken.clear()
    scene.mark(*LANES)
    await scene.until_taken(set(LANES), LANES)
    assert sorted(scene.taken, key=LANES.index) == LANES


async def test_the_other_waits_continue_when_one_ends(scene: Scene) -> None:
    few = LANES[:MOST]
    first = asyncio.create_task(scene.waits.any(few, "", without=()))
    await await_until(lambda: _is(scene.count() == MOST), why="all lanes are waited for")
    clients = {one["id"] for one in scene._raw.client_list(_type="normal") if one["cmd"] == "bzpopmin"}

    scene.mark(few[3])
    await first

    assert scene.taken == [few[3]]
    assert {one["id"] for one in scene._raw.client_list(_type="normal") if "b" in one["flags"]} < clients
    assert scene.count() == MOST - 1


async def test_a_marker_that_comes_while_the_child_is_busy_is_reported(scene: Scene) -> None:
    """A busy child does not ask: the marker is reported nevertheless, so that the child can put it back."""
    few = LANES[:4]
    scene.mark(few[0])
    await scene.waits.any(few, "", without=())
    await await_until(lambda: _is(scene.taken == few[:1]), why="the first is taken")

    scene.mark(few[2])
    await await_until(lambda: _is(scene.taken == [few[0], few[2]]), why="the second is taken, and nobody asked")


async def test_cancelled_waits_owe_their_lanes_a_claim(scene: Scene) -> None:
    few = LANES[:4]
    scene.mark(few[1])
    await scene.waits.any(few, "", without=[few[3]])
    await await_until(lambda: _is(scene.taken == [few[1]]), why="the marker is taken")

    assert scene.waits.cancel() == [few[0], few[2]]
    assert scene.waits.cancel() == []
    await await_until(lambda: _is(scene.count() == 0), why="no wait is left")


async def _is(holds: bool) -> bool:  # a condition that was looked at
    return holds
