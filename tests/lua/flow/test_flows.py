from __future__ import annotations

from jobfleet.store.calls.flow import flows
from tests.lua.world import World


def test_the_newest_come_first(world: World) -> None:
    world.raw.zadd(world.keys.flows, {"a": 1, "b": 3, "c": 2, "gone": 4})
    for flow_id in "abc":
        world.raw.set(world.keys.flow(flow_id), "record")

    assert world.again(flows(world.keys, limit=3)) == [("b", 3), ("c", 2)]
    world.raw.delete(world.keys.flows)
    assert world.again(flows(world.keys, limit=2)) == []
