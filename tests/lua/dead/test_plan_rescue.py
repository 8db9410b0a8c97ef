from __future__ import annotations

from jobfleet.store.calls.dead import note_rescue
from tests.lua.dead.rescuing import JOBS, begin, group, plan
from tests.lua.world import World


def test_a_step_is_planned_once(world: World) -> None:
    group(world)
    begin(world)

    assert plan(world) == 2
    before = world.state()

    assert plan(world) is None  # another reaper, with what it saw before
    assert world.state() == before
    assert list(before["rescue-jobs:r"]) == [job.member for job in JOBS]
    assert (before["rescue:r"]["step"], before["rescue:r"]["planned"]) == ("1", "2")
    assert plan(world, step=1) == 0  # both are planned


def test_a_stopped_rescue_plans_nothing(world: World) -> None:
    group(world)
    begin(world)
    world.go(note_rescue(world.keys, "r", wish="stop"))

    assert plan(world) is None
