from __future__ import annotations

from jobfleet.store.calls.dead import note_rescue, rescues
from tests.lua.dead.rescuing import begin, group, plan
from tests.lua.world import World


def test_all_rescues_and_those_that_are_not_over(world: World) -> None:
    group(world)
    begin(world)
    world.go(note_rescue(world.keys, "r", wish="stop"))
    begin(world, "s")
    begun = world.refused(rescues(world.keys))

    assert [row.id for row in begun] == ["s", "r"]
    assert [row.id for row in world.refused(rescues(world.keys, is_open=True))] == ["s"]
    assert begun[0].fields["state"] == "running"
    assert plan(world) is None
    assert world.refused(rescues(world.keys, limit=1))[0].flying == 0
