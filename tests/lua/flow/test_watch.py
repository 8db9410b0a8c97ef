from __future__ import annotations

from jobfleet.store.calls.flow import Ending, watch
from tests.lua.world import World


def test_who_waits_for_an_open_job_is_noted_once(world: World) -> None:
    world.seed.waiting("p")
    call = watch(world.lane, "mail.0.p", ["mail.0.k", "other.0.l"])

    assert world.run(call) == Ending("watched")

    assert world.state() == world.moved(
        {"watched": {"mail.0.p": "1"}, "dependants:mail.0.p": {"mail.0.k": 0, "other.0.l": 0}}
    )
    assert world.again(call) == Ending("watched")


def test_how_it_has_ended_is_answered(world: World) -> None:
    world.raw.set(world.lane.result("mail.0.p"), b"completed 17 7\nrecord")

    ending = world.refused(watch(world.lane, "mail.0.p", ["mail.0.k"]))

    assert (ending.status, ending.copied) == ("completed", b"completed 17 7\nrecord")


def test_a_dead_job_whose_result_has_gone_has_failed(world: World) -> None:
    world.seed.dead("p", result=False)

    assert world.refused(watch(world.lane, "mail.0.p", ["mail.0.k"])).status == "failed"


def test_nothing_is_known_of_another(world: World) -> None:
    ending = world.refused(watch(world.lane, "mail.0.p", ["mail.0.k"]))

    assert (ending.state, ending.status) == ("unknown", "gone")
