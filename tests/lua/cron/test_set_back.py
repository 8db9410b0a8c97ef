from __future__ import annotations

from jobfleet.store.calls.cron import set_back
from tests.lua.world import World


def test_a_mark_is_set_back_if_it_is_later_than_the_tolerance_allows(world: World) -> None:
    world.raw.hset(world.lane.fired, mapping={"a": "5000 mail.0.x", "b": "1100 mail.0.y"})

    assert [world.run(set_back(world.lane, name, 1000, tolerance_us=100)) for name in "abc"] == [1000, 1100, 1000]

    assert world.state() == {"fired": {"a": "1000 mail.0.x", "b": "1100 mail.0.y"}}
    assert world.again(set_back(world.lane, "a", 1000, tolerance_us=100)) == 1000
