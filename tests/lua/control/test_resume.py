from __future__ import annotations

import pytest

from jobfleet.store.calls.control import resume
from tests.lua.world import World


@pytest.mark.parametrize(("due", "band", "wakes"), [(0, 0, True), (-10, 3, True), (30, 2, False)])
def test_a_lane_goes_on_and_wakes_a_child_exactly_when_work_is_due(
    world: World, due: int, band: int, wakes: bool
) -> None:
    world.seed.paused()
    world.seed.journal()
    world.seed.waiting("a", due=due, band=band)

    assert world.run(resume(world.lane)) is True

    assert world.state() == world.moved({"conf": {"journal": "1000"}, "wake": {"w": 0} if wakes else None})
    assert world.again(resume(world.lane)) is False


def test_an_empty_lane_goes_on_and_wakes_nobody(world: World) -> None:
    world.seed.paused()

    assert world.run(resume(world.lane)) is True
    assert world.state() == {}


def test_a_lane_that_was_not_paused_says_so(world: World) -> None:
    assert world.refused(resume(world.lane)) is False
