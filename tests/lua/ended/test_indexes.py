from __future__ import annotations

from jobfleet.store.calls.ended import indexes
from tests.lua.world import World
from tests.support.seed import S


def test_those_are_named_whose_time_it_is(world: World) -> None:
    world.raw.zadd(
        world.lane.indexes, {"tag:eu": world.now - S, "user:ann": world.now - 2 * S, "tag:us": world.now + 60 * S}
    )

    assert world.refused(indexes(world.lane)) == ["user:ann", "tag:eu"]


def test_without_any_there_is_none(world: World) -> None:
    assert world.refused(indexes(world.lane)) == []


def test_fifty_are_named_at_once(world: World) -> None:
    world.raw.zadd(world.lane.indexes, {f"tag:{number:03}": world.now - S for number in range(60)})

    assert world.refused(indexes(world.lane)) == [f"tag:{number:03}" for number in range(50)]
