from __future__ import annotations

from jobfleet.store.calls.journal import consumers, enlist
from tests.lua.world import World


def test_a_group_is_on_the_list_with_its_bound_and_once(world: World) -> None:
    world.run(enlist(world.keys, "archive", most=1000))

    assert world.state() == {"consumers": {"archive": "1000"}}
    world.again(enlist(world.keys, "archive", most=1000))
    world.run(enlist(world.keys, "archive", most=500))
    assert world.run(consumers(world.keys)) == {"archive": 500}
