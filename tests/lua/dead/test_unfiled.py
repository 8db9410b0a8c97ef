from __future__ import annotations

from jobfleet.store.calls.dead import NEVER, unfiled
from tests.lua.dead.filed import bury, entries
from tests.lua.world import World


def test_all_letters_of_a_new_lane_are_unfiled_the_oldest_first(world: World) -> None:
    ids = [world.seed.dead("a", age=3), world.seed.dead("b", age=2)]

    found = world.refused(unfiled(world.lane))

    assert found.mark == NEVER
    assert [letter.id for letter in found.letters] == ids
    assert found.letters[0].record == b"record of a"


def test_only_what_came_after_the_mark_is_unfiled(world: World) -> None:
    filed = bury(world, "a", "b")
    fresh = world.seed.dead("c")

    found = world.refused(unfiled(world.lane, limit=1))

    assert found.mark == entries(world)[filed[1]]
    assert [letter.id for letter in found.letters] == [fresh]
