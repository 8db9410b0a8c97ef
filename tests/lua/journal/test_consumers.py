from __future__ import annotations

from jobfleet.store.calls.journal import consumers, enlist
from tests.lua.world import World


def test_a_fleet_without_readers_answers_none(world: World) -> None:
    assert world.refused(consumers(world.keys)) == {}


def test_all_groups_are_answered_with_their_bounds(world: World) -> None:
    world.run(enlist(world.keys, "archive", most=1000))
    world.run(enlist(world.keys, "notify", most=500))

    assert world.refused(consumers(world.keys)) == {"archive": 1000, "notify": 500}
