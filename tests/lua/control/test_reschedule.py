from __future__ import annotations

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.control import reschedule
from tests.lua.world import World
from tests.support.seed import S


def rescheduling(world: World, *suffixes: str, when: str = "", band: int | None = None) -> Call[str]:
    return reschedule(world.lane, [world.id(suffix) for suffix in suffixes], by="ann", when=when, band=band)


@pytest.mark.parametrize("band", [0, 1, 2, 3])
def test_a_waiting_job_gets_another_due_time_wherever_it_stands(world: World, band: int) -> None:
    world.seed.waiting("a", band=band, due=30)
    call = rescheduling(world, "a", when=str(world.seed.at(60)))

    assert world.run(call) == "s"

    assert world.state() == world.moved({f"ready:{band}": {"mail.0.a": "now+60s"}})
    assert world.again(call) == "s"


def test_a_delay_counts_from_now_and_a_second_time_from_then(world: World) -> None:
    world.seed.waiting("a", due=600)
    call = rescheduling(world, "a", when=f"+{60 * S}")

    assert world.run(call) == "s"

    assert world.state() == world.moved({"ready:2": {"mail.0.a": "now+60s"}})
    assert world.again(call) == "s"  # to within the seconds in between


def test_a_priority_moves_a_job_and_keeps_its_due_time(world: World) -> None:
    world.seed.waiting("a", due=30)
    call = rescheduling(world, "a", band=0)

    assert world.run(call) == "s"

    assert world.state() == world.moved({"ready:0": {"mail.0.a": "now+30s"}, "ready:2": None})
    assert world.again(call) == "s"


def test_both_may_change_at_once_and_all_else_stays(world: World) -> None:
    job_id = world.seed.waiting("a", meta="u once\nr 300000", tries="1:0:0:0:0", expires=60, due=30)
    world.seed.holds("once", job_id)
    world.seed.waiting("b", due=30)
    call = rescheduling(world, "a", when=str(world.seed.at(40)), band=3)

    assert world.run(call) == "s"

    assert world.state() == world.moved({"ready:2": {"mail.0.b": "now+30s"}, "ready:3": {"mail.0.a": "now+40s"}})
    assert world.again(call) == "s"


def test_a_job_that_is_due_now_wakes_somebody_unless_the_lane_is_paused(world: World) -> None:
    world.seed.waiting("a", due=30)
    world.seed.waiting("b", due=30)

    assert world.run(rescheduling(world, "a", when="+0")) == "s"
    assert world.state() == world.moved({"ready:2": {"mail.0.a": "now", "mail.0.b": "now+30s"}, "wake": {"w": 0}})

    world.raw.delete(world.lane.wake)
    world.seed.paused()
    assert world.run(rescheduling(world, "b", when="+0")) == "s"
    assert "wake" not in world.state()


def test_what_stands_there_already_is_left_alone(world: World) -> None:
    world.seed.waiting("a", due=30, band=1)
    world.seed.journal()

    assert world.refused(rescheduling(world, "a", when=str(world.seed.at(30)), band=1)) == "s"
    assert world.refused(rescheduling(world, "a")) == "s"


def test_what_runs_has_ended_or_is_unknown_is_left_alone(world: World) -> None:
    world.seed.running("a")
    world.seed.completed("b")
    world.seed.dead("c")
    world.seed.dead("d", result=False)

    assert world.refused(rescheduling(world, "a", "b", "c", "d", "x", when="+0", band=0)) == "rfffu"


def test_a_job_that_waits_for_others_keeps_its_place_at_the_end_of_time(world: World) -> None:
    job_id = world.seed.waiting("a")
    world.raw.zadd(world.lane.ready[2], {job_id: 9_000_000_000_000_000})

    assert world.refused(rescheduling(world, "a", when="+0", band=0)) == "b"
    assert world.run(rescheduling(world, "a", band=0)) == "s"
    assert world.raw.zscore(world.lane.ready[0], job_id) == 9_000_000_000_000_000


def test_an_id_twice_is_rescheduled_once(world: World) -> None:
    world.seed.waiting("a")
    world.seed.journal()

    assert world.run(rescheduling(world, "a", "a", band=0)) == "ss"
    assert len(world.state()["journal"]) == 1


def test_fifty_go_in_one_call(world: World) -> None:
    suffixes = [f"{n:02}" for n in range(50)]
    for number, suffix in enumerate(suffixes):
        world.seed.waiting(suffix, band=number % 4)

    assert world.run(rescheduling(world, *suffixes, band=3, when=f"+{60 * S}")) == "s" * 50
    ready = {name: places for name, places in world.state().items() if name.startswith("ready")}
    assert ready == {"ready:3": {world.id(suffix): "now+60s" for suffix in suffixes}}


def test_who_listens_and_the_journal_hear_of_it(world: World) -> None:
    world.seed.waiting("a", tries="1:0:0:0:0\nran")
    world.seed.running("b")
    world.seed.journal()

    with world.listening(world.id("a")) as heard:
        world.run(rescheduling(world, "a", "b", "x", band=0))

    assert heard == [
        ("events:mail.0.a", "1 rescheduled a 0 1000000 now"),
        ("events", "1 rescheduled a 0 1000000 now"),
    ]
    assert world.state()["journal"] == [{"at": "now", "1": "rescheduled mail.0.a 0 0 now ann", "1t": "1:0:0:0:0\nran"}]
