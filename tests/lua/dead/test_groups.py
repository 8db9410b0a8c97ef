from __future__ import annotations

from jobfleet.store.calls.dead import groups, note_groups
from tests.lua.dead.test_note_groups import seen
from tests.lua.world import World


def test_groups_come_in_pages_those_with_the_newest_letters_first(world: World) -> None:
    world.go(note_groups(world.keys, [seen(world, f"f{age}", age=age) for age in (3, 1, 2)]))

    _, first = world.refused(groups(world.keys, limit=2))
    _, second = world.refused(groups(world.keys, upto=str(first[-1].last), skip=1))

    assert [[row.fingerprint for row in page] for page in (first, second)] == [["f1", "f2"], ["f3"]]


def test_one_group_is_read_by_its_fingerprint(world: World) -> None:
    world.go(note_groups(world.keys, [seen(world)]))

    _, ((found),) = world.refused(groups(world.keys, fingerprint="f1"))

    assert (found.fingerprint, found.fields["state"]) == ("f1", "new")
    assert world.refused(groups(world.keys, fingerprint="f2"))[1] == []
