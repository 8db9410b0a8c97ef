from __future__ import annotations

from jobfleet.store.calls.run import ended_runs
from tests.lua.world import World


def test_runs_that_do_not_own_their_jobs_have_ended(world: World) -> None:
    running = world.seed.running("a", token=7)
    overtaken = world.seed.running("b", token=9)
    waiting = world.seed.waiting("c")

    found = world.refused(ended_runs(world.lane, [(running, 7), (overtaken, 7), (waiting, 7), (world.id("d"), 7)]))

    assert found == [(overtaken, 7), (waiting, 7), (world.id("d"), 7)]
