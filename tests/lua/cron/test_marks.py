from __future__ import annotations

from jobfleet.store.calls.cron import marks
from tests.lua.world import World


def test_marks_come_in_the_order_asked_for(world: World) -> None:
    world.raw.hset(world.lane.fired, mapping={"a": "17 mail.0.x", "b": "18 "})

    assert world.again(marks(world.lane, ["b", "none", "a"])) == [(18, ""), (0, ""), (17, "mail.0.x")]
