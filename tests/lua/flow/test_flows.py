from __future__ import annotations

from jobfleet.store.calls.flow import flows
from tests.lua.world import World


def test_the_newest_come_first(world: World) -> None:
    world.raw.zadd(world.keys.flows, {"a": 1, "b": 3, "c": 2})

    assert world.again(flows(world.keys, limit=2)) == [("b", 3), ("c", 2)]
    world.raw.delete(world.keys.flows)
    assert world.again(flows(world.keys, limit=2)) == []
