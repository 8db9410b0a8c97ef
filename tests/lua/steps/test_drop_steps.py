from __future__ import annotations

from jobfleet.store.calls.run import drop_steps, keep
from tests.lua.world import World


def keeps(world: World, job_id: str) -> None:
    world.raw.hset(world.lane.steps(job_id), mapping={"s:a": "done", "u:a": "undo", "": "4"})


def test_some_records_of_an_ended_job_go(world: World) -> None:
    job_id = world.seed.dead("a")
    keeps(world, job_id)
    call = drop_steps(world.lane, job_id, ("s:a", "s:b"))

    assert world.run(call) is True

    assert world.state() == world.moved({"steps:mail.0.a": {"u:a": "undo", "": "4"}})
    assert world.again(call) is True


def test_without_names_it_only_looks(world: World) -> None:
    job_id = world.seed.completed("a")
    keeps(world, job_id)

    assert world.refused(drop_steps(world.lane, job_id, ())) is True


def test_an_open_job_keeps_all(world: World) -> None:
    for job_id in (world.seed.running("a"), world.seed.waiting("b")):
        keeps(world, job_id)

        assert world.refused(drop_steps(world.lane, job_id, ("s:a",))) is False


def test_a_job_whose_envelope_was_deleted_has_not_ended(world: World) -> None:
    job_id = world.seed.running("a")
    world.go(keep(world.lane, job_id, 7, ttl_ms=60_000, step="s:a", record=b"done"))
    world.raw.hdel(world.lane.runs, job_id)
    world.raw.delete(world.lane.job(job_id))
    call = drop_steps(world.lane, job_id, ("s:a",))

    assert world.refused(call) is False

    world.raw.hset(world.lane.dead, job_id, "1-1")
    assert world.run(call) is True
