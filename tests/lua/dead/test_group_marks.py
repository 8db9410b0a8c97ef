from __future__ import annotations

from jobfleet.store.calls.dead import Returned, group_marks, mark_group, note_groups
from tests.lua.dead.test_note_groups import seen
from tests.lua.world import World


def test_ignored_groups_and_those_that_came_back_are_named(world: World) -> None:
    world.go(note_groups(world.keys, [seen(world, fingerprint) for fingerprint in ("f1", "f2", "f3")]))
    world.go(mark_group(world.keys, "f1", "ignored", by=None))
    world.go(mark_group(world.keys, "f2", "resolved", by=None))
    world.go(note_groups(world.keys, [seen(world, "f2", age=-60)]))
    back = world.now + 60_000_000

    found = world.refused(group_marks(world.keys, since_us=1))

    assert found.ignored == {"f1"}
    assert found.returned == [Returned("f2", back, "demo.add", "ValueError", "no luck", "mail.0.-60")]
    assert world.refused(group_marks(world.keys, since_us=back + 1)).returned == []


def test_a_fleet_without_groups_has_no_marks(world: World) -> None:
    assert world.refused(group_marks(world.keys, since_us=1)) == (frozenset(), [])
