from __future__ import annotations

from jobfleet.store.calls.control import pause
from tests.lua.world import World


def test_a_lane_is_paused_once_and_the_first_who_did_is_remembered(world: World) -> None:
    world.seed.journal()

    assert world.run(pause(world.lane, by="ann")) is True

    assert world.state() == {"conf": {"journal": "1000", "paused": "ann@now"}}
    assert world.again(pause(world.lane, by="bob")) is False


def test_a_name_cannot_part_a_record(world: World) -> None:
    world.run(pause(world.lane, by="ann|b@c\n"))

    assert world.state() == {"conf": {"paused": "ann%7Cb%40c%0A@now"}}


def test_nobody_in_particular_may_pause(world: World) -> None:
    world.run(pause(world.lane, by=None))

    assert world.state() == {"conf": {"paused": "-@now"}}


def test_running_jobs_and_the_marker_stay(world: World) -> None:
    world.seed.running("a")
    world.seed.waiting("b")
    world.raw.zadd(world.lane.wake, {"w": 0})

    world.run(pause(world.lane, by="ann"))

    assert world.state() == world.moved({"conf": {"paused": "ann@now"}})


def test_a_reason_is_kept_in_one_line(world: World) -> None:
    world.run(pause(world.lane, by="ann", reason=" it is\n@ fault " + "x" * 300))

    kept = world.state()["conf"]["paused"]
    assert kept.startswith("ann@now it is @ fault xxx")
    assert len(kept) == len("ann@now ") + 200
