from __future__ import annotations

import pytest

from jobfleet.store.calls.dead import find_letters
from tests.lua.dead.filed import bury, entries
from tests.lua.world import World


@pytest.mark.parametrize("name", ["", "f:x"])
def test_filed_and_unfiled_letters_come_newest_first(world: World, name: str) -> None:
    ids = bury(world, "a", "b")
    fresh = world.seed.dead("c")

    found = world.refused(find_letters(world.lane, name))

    assert [letter.id for letter in found.letters] == [fresh, *reversed(ids)]
    assert found.last == ""


@pytest.mark.parametrize("name", ["", "f:x"])
def test_a_part_ends_at_the_last_letter_that_was_looked_at(world: World, name: str) -> None:
    ids = bury(world, "a", "b", "c")
    known = entries(world)

    first = world.refused(find_letters(world.lane, name, limit=2))
    second = world.refused(find_letters(world.lane, name, limit=2, before=first.last))

    assert [letter.id for letter in first.letters] == [ids[2], ids[1]]
    assert first.last == known[ids[1]]
    assert ([letter.id for letter in second.letters], second.last) == ([ids[0]], "")


def test_other_names_are_not_read(world: World) -> None:
    bury(world, "a", names=("f:x",))

    assert world.refused(find_letters(world.lane, "f:xy")).letters == []
    assert world.refused(find_letters(world.lane, "f:")).letters == []


@pytest.mark.parametrize("name", ["", "f:x"])
def test_letters_from_before_a_time_are_left_out(world: World, name: str) -> None:
    ids = bury(world, "a", "b")
    since = int(entries(world)[ids[1]].partition("-")[0])

    assert [letter.id for letter in world.refused(find_letters(world.lane, name, since_ms=since)).letters] == [ids[1]]
