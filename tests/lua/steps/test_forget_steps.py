from __future__ import annotations

from jobfleet.store.calls.control import replay
from jobfleet.store.calls.run import forget_steps
from tests.lua.world import World


def keeps(world: World, job_id: str) -> None:
    world.raw.hset(world.lane.steps(job_id), mapping={"s:a": "done", "": "4"})


def test_the_steps_of_a_dead_job_go(world: World) -> None:
    job_id = world.seed.dead("a")
    keeps(world, job_id)
    call = forget_steps(world.lane, job_id)

    assert world.run(call) is True

    assert world.state() == world.moved({"steps:mail.0.a": None})
    assert world.again(call) is True


def test_those_of_any_other_job_stay(world: World) -> None:
    ids = [world.seed.running("a"), world.seed.waiting("b"), world.seed.completed("c"), world.id("d")]
    for job_id in ids:
        keeps(world, job_id)

        assert world.refused(forget_steps(world.lane, job_id)) is False


def test_a_job_that_was_replayed_meanwhile_keeps_what_it_does(world: World) -> None:
    job_id = world.seed.dead("a")
    world.run(replay(world.lane, [job_id], by=None))
    keeps(world, job_id)

    assert world.refused(forget_steps(world.lane, job_id)) is False
