from __future__ import annotations

from jobfleet.store.calls.ended import clean
from tests.lua.world import World


def ended(world: World, suffix: str, at: int, status: str = "completed") -> str:
    """A job that ended `at` seconds from now, with all that is kept of it."""
    lane, job_id = world.lane, world.id(suffix)
    world.raw.set(lane.result(job_id), f"{status} {world.seed.at(at)} 7\nrecord", ex=1000)
    world.raw.set(lane.progress(job_id), "half", ex=1000)
    world.raw.rpush(lane.log(job_id), "7 1 2 20 text")
    world.raw.hset(lane.steps(job_id), "s:a", "one")
    world.raw.xadd(lane.chunks(job_id), {"at": "1 1", "v": "x"}, id="7-1")
    return job_id


def test_all_that_is_kept_of_what_ended_before_goes(world: World) -> None:
    old, young = ended(world, "old", -60), ended(world, "young", -20)
    call = clean(world.lane, [old, young], before_us=world.seed.at(-30))

    assert world.run(call) == 1

    assert [bool(world.raw.exists(world.lane.result(job_id))) for job_id in (old, young)] == [False, True]
    assert not any("mail.0.old" in key for key in world.state())
    assert world.again(call) == 0


def test_a_dead_letter_stays(world: World) -> None:
    job_id = world.seed.dead("a")

    assert world.run(clean(world.lane, [job_id], before_us=world.seed.at(30))) == 1

    assert world.state() == world.moved({f"result:{job_id}": None})


def test_what_is_open_is_left_alone(world: World) -> None:
    again = ended(world, "again", -60, "failed")
    world.seed.waiting("again")
    ids = [again, world.seed.running("b"), world.seed.waiting("c"), world.id("x")]

    assert world.refused(clean(world.lane, ids, before_us=world.seed.at(30))) == 0
