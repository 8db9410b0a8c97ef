from __future__ import annotations

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.control import cancel, stop
from jobfleet.store.calls.inspect import status
from jobfleet.store.calls.lease import renew
from jobfleet.store.calls.settle import release, settle
from jobfleet.store.records import Final, InRun
from tests.lua.world import World
from tests.support.seed import S

STAGES = ("asked", "raised", "terminated", "killed", "condemned")


def stopping(world: World, *items: tuple[str, int, str]) -> Call[str]:
    """Items of suffix, token and stage."""
    return stop(world.lane, [(world.id(suffix), token, 5, stage) for suffix, token, stage in items])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_noted_beside_who_asked_and_when(world: World, stage: str) -> None:
    world.seed.running("a", cancel="ann")
    call = stopping(world, ("a", 7, stage))

    assert world.run(call) == "n"

    assert world.state() == world.moved({"runs": {"mail.0.a": f"7|w.1|now-10s|{60 * S}|2|ann@now@{stage}"}})
    assert world.again(call) == "d"


def test_stages_only_go_up(world: World) -> None:
    world.seed.running("a", cancel="ann")

    answers = [world.run(stopping(world, ("a", 7, stage))) for stage in ("asked", "killed", "raised", "condemned")]

    assert answers == ["n", "n", "d", "n"]
    assert world.state()["runs"]["mail.0.a"].endswith("|ann@now@condemned")


def test_two_stages_of_a_run_may_come_at_once(world: World) -> None:
    world.seed.running("a", cancel="ann")

    assert world.run(stopping(world, ("a", 7, "asked"), ("a", 7, "raised"))) == "nn"
    assert world.state()["runs"]["mail.0.a"].endswith("|ann@now@raised")


def test_what_was_not_asked_is_another_run_or_does_not_run_is_left_alone(world: World) -> None:
    world.seed.running("a")
    world.seed.running("b", token=8, cancel="ann")
    world.seed.waiting("c")
    world.seed.running("d", cancel="ann")

    items = [("a", 7, "raised"), ("b", 7, "raised"), ("c", 7, "raised"), ("x", 7, "raised"), ("d", 7, "unheard")]

    assert world.refused(stopping(world, *items)) == "ullld"


def test_the_mark_still_tells_renewals_who_asked_and_is_not_asked_twice(world: World) -> None:
    world.seed.running("a", cancel="ann")
    world.run(stopping(world, ("a", 7, "raised")))

    answer = world.run(renew(world.lane, [(world.id("a"), 7)], lease_us=60 * S))

    assert answer.cancelled == ((world.id("a"), 7, "ann"),)
    assert world.refused(cancel(world.keys, world.lane, [world.id("a")], by="bob", ttl_ms=1)) == "r"


def test_status_tells_the_stage_while_it_runs_and_after_its_end(world: World) -> None:
    job_id = world.seed.running("a", cancel="ann")
    world.run(stopping(world, ("a", 7, "raised")))
    _, (running,) = world.run(status(world.lane, [job_id]))

    assert world.run(settle(world.lane, [release(job_id, 7)])).letters == "c"

    _, (ended,) = world.run(status(world.lane, [job_id]))
    assert isinstance(running, InRun)
    assert (running.run.cancel_by, running.run.cancel_at, running.run.stage) == ("ann", world.now, "raised")
    assert isinstance(ended, Final)
    assert (ended.by, ended.cancel_at, ended.stage, ended.reason) == ("ann", world.now, "raised", "-")


def test_an_ending_that_was_written_before_there_were_stages_is_read(world: World) -> None:
    world.raw.set(world.lane.result(world.id("a")), f"cancelled {world.now} 7 5 w.1 ann\nenvelope")

    _, (ended,) = world.run(status(world.lane, [world.id("a")]))

    assert isinstance(ended, Final)
    assert (ended.by, ended.child, ended.cancel_at, ended.stage) == ("ann", "w.1", 0, "")


def test_who_listens_hears_of_stages_and_the_journal_keeps_them(world: World) -> None:
    world.seed.running("a", cancel="ann")
    world.seed.running("b")
    world.seed.journal()

    with world.listening(world.id("a")) as heard:
        world.run(stopping(world, ("a", 7, "raised"), ("b", 7, "raised")))

    assert heard == [("events:mail.0.a", "1 stopping a 7 5 now raised"), ("events", "1 stopping a 7 5 now raised")]
    assert world.state()["journal"] == [{"at": "now", "1": "stopping mail.0.a 7 5 raised"}]
