from __future__ import annotations

from jobfleet.store.calls.cron import unmark
from tests.lua.world import World


def test_a_mark_goes_alone(world: World) -> None:
    world.raw.hset(world.lane.fired, mapping={"a": "17 mail.0.x", "b": "18 "})

    assert world.run(unmark(world.lane, "a")) == 1

    assert world.state() == {"fired": {"b": "18 "}}
    assert world.again(unmark(world.lane, "a")) == 0
