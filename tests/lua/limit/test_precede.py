from __future__ import annotations

import pytest

from jobfleet.store.calls import flow
from jobfleet.store.calls.limits import precede
from tests.lua.world import World
from tests.support.sequences import Worker, enter, entry, row, standing


def block(world: World, name: str, parent: str, *, group: str = "acme") -> None:
    """Write a job of a sequence that waits for a parent, and has no guard any more."""
    edges = [flow.Edge(world.id(parent), 0, "c")]
    world.go(flow.block(world.lane, entry(world, name, group=group), edges, ttl_ms=60_000))
    guard = flow.ParentEnd(world.id(name), flow.GUARD, "completed", b"")
    assert world.go(flow.unblock(world.lane, [guard], ttl_ms=60_000)) == "b"


def ids(world: World, names: str) -> list[str]:
    return [world.id(name) for name in names]


def order(world: World) -> str:
    """The head, then the jobs behind it, by place."""
    head, _, behind = standing(world)
    return f"{head}|{behind}"


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_job_passes_a_blocked_head_that_has_come_to_wait_for_it(world: World, is_paused: bool) -> None:
    block(world, "d", "x")
    enter(world, "ab")
    if is_paused:
        world.seed.paused()
    call = precede(world.lane, ids(world, "d"), ids(world, "b"))

    assert world.run(call) == 1

    assert order(world) == "b|da"
    assert ("wake" in world.state()) is not is_paused
    assert world.again(call) == 0
    assert order(world) == "b|da"


def test_the_head_gets_its_turn_back_afterwards(world: World) -> None:
    block(world, "d", "x")
    enter(world, "ab")
    worker = Worker(world)
    world.go(precede(world.lane, ids(world, "d"), ids(world, "b")))

    assert worker.claim() == "b"
    worker.end("b")

    assert standing(world) == ("d", "blocked", "a")


def test_jobs_keep_their_order(world: World) -> None:
    block(world, "d", "x")
    enter(world, "abc")

    assert world.run(precede(world.lane, ids(world, "d"), ids(world, "cac"))) == 2

    assert order(world) == "a|cdb"


def test_a_job_with_open_parents_gets_its_place_and_does_not_start(world: World) -> None:
    block(world, "d", "x")
    block(world, "p", "y")

    assert world.run(precede(world.lane, ids(world, "d"), ids(world, "p"))) == 1
    assert order(world) == "d|p"

    end = flow.ParentEnd(world.id("p"), world.id("y"), "completed", b"")
    assert world.go(flow.unblock(world.lane, [end], ttl_ms=60_000)) == "u"
    assert order(world) == "p|d"


def test_no_job_starts_before_it_may(world: World) -> None:
    block(world, "d", "x")
    enter(world, "a")

    assert world.run(precede(world.lane, ids(world, "d"), ids(world, "a"), starts=False)) == 1
    assert order(world) == "d|a"

    assert world.run(precede(world.lane, (), ids(world, "a"))) == 0
    assert order(world) == "a|d"


def test_a_head_that_is_not_blocked_stays(world: World) -> None:
    enter(world, "h")
    block(world, "d", "x")
    enter(world, "a")

    assert world.run(precede(world.lane, ids(world, "d"), ids(world, "a"))) == 1

    assert order(world) == "h|ad"


def test_a_job_keeps_its_due_time(world: World) -> None:
    block(world, "d", "x")
    enter(world, "a", when="+90000000")

    assert world.run(precede(world.lane, ids(world, "d"), ids(world, "a"))) == 1

    found = row(world)
    assert found is not None
    assert (found.state, found.due > 0) == ("waiting", True)
    assert "wake" not in world.state()


@pytest.mark.parametrize("names", ["h", "z", "o"])
def test_other_jobs_are_left_alone(world: World, names: str) -> None:
    """The head, an unknown job, and a job of another sequence."""
    enter(world, "h")
    block(world, "d", "x")
    enter(world, "q", group="other")
    enter(world, "o", group="other")

    assert world.refused(precede(world.lane, ids(world, "d"), ids(world, names))) == 0
    assert order(world) == "h|d"


def test_a_sequence_whose_rest_fails_is_left_alone(world: World) -> None:
    enter(world, "h", policy="f")
    block(world, "d", "x")
    worker = Worker(world)
    worker.claim()
    worker.end("h", "fail")
    enter(world, "a")

    assert world.refused(precede(world.lane, ids(world, "d"), ids(world, "a"))) == 0
