from __future__ import annotations

from jobfleet.store.call import DURABILITY
from jobfleet.store.calls.enqueue import level
from jobfleet.store.calls.limits import set_limit
from tests.lua.world import World


def test_the_level_is_what_an_operator_has_set(world: World) -> None:
    assert world.refused(level(world.lane)) == ""
    world.run(set_limit(world.lane, DURABILITY, "fsync"))

    assert world.refused(level(world.lane)) == "fsync"


def test_a_level_that_is_no_text_is_no_level(world: World) -> None:
    world.raw.hset(world.lane.conf, DURABILITY, b"\xff")

    assert world.refused(level(world.lane)) == "\N{REPLACEMENT CHARACTER}"
