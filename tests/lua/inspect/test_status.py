from __future__ import annotations

from jobfleet.store.calls.inspect import status
from jobfleet.store.records import Dead, Final, Found, InRun, InWait, Unknown
from tests.lua.world import World
from tests.support.seed import S


def look(world: World, suffix: str) -> Found:
    _, (found,) = world.refused(status(world.lane, [world.id(suffix)]))
    return found


def progressed(world: World, suffix: str) -> None:
    world.raw.set(world.lane.progress(world.id(suffix)), "half", ex=1000)


def test_a_waiting_job_is_found_in_its_band_at_its_due_time(world: World) -> None:
    world.seed.waiting("a", band=3, due=30, tries="1:0:0:0:0")
    progressed(world, "a")

    assert look(world, "a") == InWait(3, world.now + 30 * S, "1:0:0:0:0", b"envelope of a", b"half")


def test_a_running_job_is_found_with_its_run(world: World) -> None:
    world.seed.running("a", cancel="ann", tries="1:0:0:0:0")
    progressed(world, "a")

    found = look(world, "a")

    assert isinstance(found, InRun)
    assert (found.run.token, found.run.child, found.run.cancel_by, found.run.cancel_at) == (7, "w.1", "ann", world.now)
    assert (found.progress, found.tries, found.envelope) == (b"half", "1:0:0:0:0", b"envelope of a")


def test_a_finished_job_is_found_by_its_result(world: World) -> None:
    world.seed.completed("a")
    progressed(world, "a")

    assert look(world, "a") == Final("completed", world.now, 7, 0, "-", "-", "-", b"record of a", b"half")


def test_a_cancelled_job_tells_who_ran_it_since_when_and_who_asked(world: World) -> None:
    line = f"cancelled {world.now} 7 {world.now - S} w.1 ann\n"
    world.raw.set(world.lane.result(world.id("a")), line.encode() + b"\x00\nenvelope", ex=1000)

    assert look(world, "a") == Final(
        "cancelled", world.now, 7, world.now - S, "w.1", "ann", "-", b"\x00\nenvelope", b""
    )


def test_a_failed_job_is_found_by_its_result_and_then_by_its_letter(world: World) -> None:
    world.seed.dead("a", tries="1:0:0:0:0")
    assert look(world, "a") == Final("failed", world.now, 7, 0, "-", "-", "error", b"record of a", b"")

    world.raw.delete(world.lane.result(world.id("a")))
    assert look(world, "a") == Dead(b"record of a", b"", "error", "1:0:0:0:0")


def test_a_job_whose_letter_was_trimmed_is_unknown(world: World) -> None:
    world.seed.dead("a", result=False)
    world.raw.delete(world.lane.dlq)

    assert look(world, "a") == Unknown()


def test_many_are_answered_in_their_order(world: World) -> None:
    world.seed.waiting("a")
    world.seed.completed("b")
    world.seed.running("c")

    _, found = world.refused(status(world.lane, [world.id(suffix) for suffix in "cxba"]))

    assert [type(one) for one in found] == [InRun, Unknown, Final, InWait]


def test_fifty_are_answered_in_one_call(world: World) -> None:
    for n in range(50):
        world.seed.waiting(f"{n:02}")

    _, found = world.refused(status(world.lane, [world.id(f"{n:02}") for n in range(50)]))

    assert {type(one) for one in found} == {InWait}
