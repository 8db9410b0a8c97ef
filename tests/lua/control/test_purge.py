from __future__ import annotations

from jobfleet.store.calls.control import purge
from tests.lua.world import World


def test_a_letter_goes_and_the_result_stays(world: World) -> None:
    job_id = world.seed.dead("a")
    world.seed.dead("b")
    call = purge(world.lane, [job_id])

    assert world.run(call) == 1

    assert [letter["id"] for letter in world.state()["dlq"]] == ["mail.0.b"]
    assert world.state() == world.moved({"dead": {"mail.0.b": "dlq[0]"}, "dlq": world.before["dlq"][1:]})
    assert world.again(call) == 0


def test_what_is_not_dead_is_left_alone(world: World) -> None:
    ids = [world.seed.waiting("a"), world.seed.running("b"), world.seed.completed("c"), world.id("x")]

    assert world.refused(purge(world.lane, ids)) == 0


def test_an_id_twice_is_purged_once(world: World) -> None:
    job_id = world.seed.dead("a")

    assert world.run(purge(world.lane, [job_id, job_id])) == 1


def test_fifty_go_in_one_call(world: World) -> None:
    ids = [world.seed.dead(f"{n:02}", result=False) for n in range(50)]

    assert world.run(purge(world.lane, ids)) == 50
    assert world.state() == {"dlq": []}
