from __future__ import annotations

import pytest

from jobfleet.store.calls.limits import unpark
from tests.lua.world import World
from tests.support.sequences import Worker, enter, standing


@pytest.mark.parametrize("is_paused", [False, True])
def test_the_next_job_of_a_parked_sequence_becomes_the_head(world: World, is_paused: bool) -> None:
    enter(world, "ab", policy="p")
    worker = Worker(world)
    worker.claim()
    worker.end("a", "fail")
    world.raw.delete(world.lane.wake)
    if is_paused:
        world.seed.paused()
    call = unpark(world.lane, "acme", world.id("a"))

    assert world.run(call) is True

    assert ("wake" in world.state()) is not is_paused
    assert standing(world) == ("b", "waiting", "")
    assert world.again(call) is False


@pytest.mark.parametrize("head", ["a", "b"])
def test_a_sequence_that_is_not_parked_behind_that_head_is_left_alone(world: World, head: str) -> None:
    enter(world, "ab", policy="p")

    assert world.refused(unpark(world.lane, "acme", world.id(head))) is False
