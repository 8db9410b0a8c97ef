from __future__ import annotations

import pytest

from jobfleet.store.calls.cron import unmark
from tests.lua.world import World


def test_a_mark_goes_alone(world: World) -> None:
    world.raw.hset(world.lane.fired, mapping={"a": "17 mail.0.x", "b": "18 "})

    assert world.run(unmark(world.lane, "a")) == 1

    assert world.state() == {"fired": {"b": "18 "}}
    assert world.again(unmark(world.lane, "a")) == 0


@pytest.mark.parametrize(("until", "left"), [(16, {"a": "17 mail.0.x"}), (17, {})])
def test_the_mark_of_a_fire_after_the_time_stays(world: World, until: int, left: dict[str, str]) -> None:
    world.raw.hset(world.lane.fired, "a", "17 mail.0.x")

    assert world.run(unmark(world.lane, "a", until_us=until)) == 1 - len(left)

    assert world.state() == ({"fired": left} if left else {})
