from __future__ import annotations

from jobfleet.store.calls.journal import dismiss, enlist
from tests.lua.world import World


def test_a_group_is_taken_off_the_list_and_others_stay(world: World) -> None:
    world.run(enlist(world.keys, "archive", most=1000))
    world.run(enlist(world.keys, "notify", most=500))

    assert world.run(dismiss(world.keys, "archive")) is True

    assert world.state() == {"consumers": {"notify": "500"}}
    assert world.again(dismiss(world.keys, "archive")) is False
