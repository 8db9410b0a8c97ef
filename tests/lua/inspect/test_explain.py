from __future__ import annotations

from dataclasses import replace

from jobfleet.store.calls.inspect import Explained, explain, status
from jobfleet.store.records import InWait, Unknown
from tests.lua.world import World
from tests.support.seed import S


def look(world: World, suffix: str) -> Explained:
    """What is answered of a job, with the job itself checked against what `status` says."""
    found = world.refused(explain(world.lane, world.id(suffix)))
    assert world.now <= found.now < world.now + 600 * S
    assert world.run(status(world.lane, [world.id(suffix)]))[1] == [found.found]
    return replace(found, now=world.now)


def test_a_waiting_job_is_told_with_all_that_stands_before_it(world: World) -> None:
    for suffix, band, due in (("a", 0, -20), ("b", 1, -20), ("c", 2, -20), ("d", 2, -10), ("e", 3, -30), ("f", 1, 600)):
        world.seed.waiting(suffix, band=band, due=due)
    world.seed.waiting("mine", due=-10, meta="r 300000", tries="1:0:0:0:0", expires=60)
    world.seed.waiting("z", due=-10)

    assert look(world, "mine") == Explained(
        world.now,
        InWait(2, world.now - 10 * S, "1:0:0:0:0", b"envelope of mine", b""),
        meta=f"x {world.seed.at(60)}\nr 300000",
        due=(1, 1, 4, 1),
        rank=2,
    )


def test_a_job_that_others_wait_for_is_told_as_such(world: World) -> None:
    world.seed.watch(world.seed.waiting("mine"))
    world.seed.waiting("other")

    assert look(world, "mine").watched
    assert not look(world, "other").watched


def test_a_job_of_later_is_told_with_what_is_due_now(world: World) -> None:
    world.seed.waiting("a")
    world.seed.waiting("mine", band=3, due=600)

    assert look(world, "mine") == Explained(
        world.now, InWait(3, world.now + 600 * S, "", b"envelope of mine", b""), due=(0, 0, 1, 0)
    )


def test_a_paused_lane_is_told_with_by_whom_and_when(world: World) -> None:
    world.seed.paused()
    world.seed.waiting("mine")

    found = look(world, "mine")

    assert (found.paused_by, found.paused_at) == ("ann", world.now)


def test_a_running_job_is_told_with_its_lease_and_whether_leases_are_judged(world: World) -> None:
    world.seed.running("mine", deadline=50)
    world.seed.ticked(hold=20)

    found = look(world, "mine")

    assert (found.deadline, found.hold, found.rank) == (world.seed.at(50), world.seed.at(20), 0)


def test_one_that_has_ended_or_is_not_known_is_told_as_such(world: World) -> None:
    world.seed.completed("a")
    world.seed.dead("b", result=False)

    assert [type(look(world, suffix).found).__name__ for suffix in "abx"] == ["Final", "Dead", "Unknown"]
    assert look(world, "x") == Explained(world.now, Unknown())
