from __future__ import annotations

from jobfleet.store.calls.steps import steps
from tests.lua.world import World


def test_a_job_without_steps_has_kept_nothing(world: World) -> None:
    assert world.refused(steps(world.lane, world.id("a"))) == {}


def test_all_that_was_kept_is_answered_but_for_its_size(world: World) -> None:
    world.raw.hset(world.lane.steps(world.id("a")), mapping={"s:a": b"\xff", "c:b": b"", "": "1"})

    assert world.refused(steps(world.lane, world.id("a"))) == {"s:a": b"\xff", "c:b": b""}
