from __future__ import annotations

from jobfleet.store.calls.dead import note_rescue, rescue
from tests.lua.dead.rescuing import JOBS, begin, group, plan
from tests.lua.world import World


def test_the_jobs_that_were_looked_at_longest_ago_come_first(world: World) -> None:
    group(world)
    begin(world)
    plan(world)
    world.go(note_rescue(world.keys, "r", [(JOBS[0], "s")]))

    found = world.refused(rescue(world.keys, "r", limit=2))

    assert [job for job, _ in found.jobs] == JOBS[::-1]
    assert [at > 0 for _, at in found.jobs] == [False, True]
    assert (found.flying, found.fields["state"]) == (2, "running")
    assert world.refused(rescue(world.keys, "r")).jobs == []


def test_an_unknown_rescue_has_no_fields(world: World) -> None:
    assert world.refused(rescue(world.keys, "r")).fields == {}
