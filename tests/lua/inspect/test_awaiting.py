from __future__ import annotations

import pytest

from jobfleet.store.calls import inspect
from jobfleet.store.records import InWait, Waiting
from tests.lua.world import World
from tests.support.seed import S


def wait(world: World, suffix: str, signal: str, *, due: int = 60, group: str = "", meta: str = "w 7") -> str:
    """A job that waits since a run, until `due`."""
    world.seed.waiting(suffix, due=due, group=group, meta=meta)
    world.raw.hset(f"{world.lane.tag}steps:{world.id(suffix)}", "@", f"{world.now + due * S} {signal}")
    return world.id(suffix)


def test_jobs_that_wait_for_a_signal_are_found_among_those_that_are_not_due(world: World) -> None:
    wait(world, "a", "go")
    wait(world, "b", "\x1fgo", due=90, meta="")
    wait(world, "asleep", "")
    wait(world, "due", "go", due=-1)
    wait(world, "moved", "go", due=60)
    world.raw.zadd(world.lane.ready[2], {world.id("moved"): world.now + 61 * S})  # rescheduled since
    world.seed.waiting("later", due=30)
    world.seed.waiting("text", due=30)
    world.raw.set(f"{world.lane.tag}steps:{world.id('text')}", "of another type")

    _, seen, rows = world.refused(inspect.awaiting(world.lane, 2))
    _, looked, few = world.refused(inspect.awaiting(world.lane, 2, skip=1, limit=2))

    assert (seen, [row.id for row in rows]) == (6, [world.id("b"), world.id("a")])
    assert rows[1] == Waiting(world.id("a"), world.now + 60 * S, "", b"envelope of a", awaited="7 go")
    assert rows[0].awaited == "0 \x1fgo"
    assert (looked, few) == (2, [])  # after b come moved and asleep


def test_jobs_of_groups_are_a_section_of_their_own(world: World) -> None:
    wait(world, "g", "go", group="eu")

    _, _, plain = world.refused(inspect.awaiting(world.lane, 2))
    _, _, grouped = world.refused(inspect.awaiting(world.lane, 2 + 4))

    assert (plain, grouped) == ([], [Waiting(world.id("g"), world.now + 60 * S, "", b"envelope of g", awaited="7 go")])


@pytest.mark.parametrize(("signal", "awaited"), [("go", "7 go"), ("", "7 ")])
def test_a_state_and_a_page_say_what_a_job_waits_for(world: World, signal: str, awaited: str) -> None:
    job_id = wait(world, "a", signal)

    _, (state,) = world.refused(inspect.status(world.lane, [job_id]))
    _, (row,) = world.refused(inspect.waiting(world.lane, 2))

    assert isinstance(state, InWait)
    assert (state.awaited, row.awaited) == (awaited, awaited)
