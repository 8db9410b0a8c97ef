from __future__ import annotations

from jobfleet.store.calls.dead import count_letters
from tests.lua.dead.filed import bury
from tests.lua.world import World


def test_the_letters_of_each_name_are_counted(world: World) -> None:
    bury(world, "a", "b", names=("f:x", "t:eu"))

    assert world.refused(count_letters(world.lane, ["f:x", "t:eu", "t:e"])) == [2, 2, 0]
