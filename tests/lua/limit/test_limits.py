from __future__ import annotations

from jobfleet.store.calls.limits import Used, limits
from tests.lua.world import World


def test_settings_and_what_is_used_of_them(world: World) -> None:
    world.seed.limit("4 10000 100 - 100/s")
    world.seed.limit("2 - - 2 -", "acme")
    world.seed.running("a", group="acme")
    world.seed.running("b")
    world.raw.zadd(world.lane.rates, {"": world.seed.at(30)})

    found = world.refused(limits(world.lane, ["acme", "zeta"]))

    assert found.used == Used(2, world.seed.at(30))
    assert found.fields == {"limit": "4 10000 100 - 100/s", "limit:acme": "2 - - 2 -", "groups": "1"}
    assert found.groups == {"acme": Used(1, 0), "zeta": Used(0, 0)}


def test_a_lane_without_settings(world: World) -> None:
    found = world.refused(limits(world.lane))

    assert (found.used, found.fields, found.groups) == (Used(0, 0), {}, {})
