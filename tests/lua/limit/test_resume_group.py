from __future__ import annotations

from jobfleet.store.calls.limits import resume_group
from tests.lua.world import World


def test_a_group_that_rested_is_looked_at_and_somebody_is_woken(world: World) -> None:
    world.seed.group_paused("acme")
    world.seed.waiting("a", group="acme")
    world.seed.rests("acme")
    call = resume_group(world.lane, "acme")

    assert world.run(call)

    assert world.state() == world.moved({"conf": {"groups": "0"}, "gdue": {"2acme": "now"}, "wake": {"w": 0}})
    assert world.run(call) is False


def test_nobody_is_woken_for_a_lane_that_is_paused_itself(world: World) -> None:
    world.seed.group_paused("acme")
    world.seed.paused()
    world.seed.waiting("a", group="acme")
    world.seed.rests("acme")

    assert world.run(resume_group(world.lane, "acme"))

    assert "wake" not in world.state()


def test_a_group_that_was_not_paused_is_left_alone(world: World) -> None:
    world.seed.waiting("a", group="acme")

    assert world.refused(resume_group(world.lane, "acme")) is False
