from __future__ import annotations

from jobfleet.store.calls.flow import shorten_parents
from tests.lua.flow.test_keep_parents import HOUR, left
from tests.lua.flow.test_unblock import waiting
from tests.lua.world import World


def test_the_parents_of_an_ended_job_are_kept_for_less_and_never_for_longer(world: World) -> None:
    ended, still_open = waiting(world, "c", name="c"), waiting(world, "c", name="d")
    world.raw.delete(world.lane.job(ended))
    call = shorten_parents(world.lane, [(ended, 500), (still_open, 500), (world.id("nobody"), 500)])

    assert world.run(call) == 1

    assert 0 < left(world, ended) <= 500 < left(world, still_open)
    assert world.again(call._replace(args=tuple(HOUR if part == 500 else part for part in call.args))) == 0
    assert 0 < left(world, ended) <= 500
