"""When a supervisor ends a child for a run: what it holds against it, and that time nobody had accuses nobody."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
import redis

from jobfleet.config import JobConfig
from jobfleet.outcome import Cancelled, TimedOut
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.supervisor.child_handle import ChildHandle
from jobfleet.worker.supervisor.children import Children
from jobfleet.worker.supervisor.watchdog import LOOK_EVERY, PATIENCE, SLACK, STAGES, HardLimits
from tests.support.seed import Seed
from tests.support.waiting import await_until

LANE = Keyspace("jobfleet").lane("mail", 0)
FENCE = 7
KEY = ("mail.0.a", FENCE)
LIMIT = 2.0
CONFIG = JobConfig(cancel_grace=1.0, stop_grace=2.0, grace=5.0)
ENOUGH = round(PATIENCE / LOOK_EVERY)
"""Looks past a limit, after the first, after which a child is condemned."""


class Succession:
    """A nursery that remembers whom it was to replace."""

    def __init__(self) -> None:
        self.replaced: list[str] = []

    def replace(self, handle: ChildHandle, grace: float | None) -> None:
        """Remember it."""
        del grace
        self.replaced.append(handle.child)


class Watched:
    """A child that runs one job, and its supervisor's looks at it.

    Args:
        kin: The child.
        store: Where stages are noted.
        until: Its limit on the board (monotonic clock); 0 for none.
    """

    def __init__(self, handle: ChildHandle, store: AsyncStore, until: float) -> None:
        self.handle = handle
        self.now = 100.0
        self.child_processes = Succession()
        self.enforcer = HardLimits(cast(Children, self.child_processes), store, Keyspace("jobfleet"), CONFIG)
        self.board = LeaseBoard(os.dup(handle._board._descriptor))
        self.place = self.post("mail.0.a")
        if until:
            self.board.limit(self.place, until, LIMIT)

    def post(self, job_id: str) -> int:
        """Have it run a job."""
        place = self.board.post(job_id, FENCE)
        self.board.started(place)
        return place

    def look(self, times: int = 1, *, after: float = LOOK_EVERY) -> None:
        """Look at it so many times, each after so many seconds."""
        for _ in range(times):
            self.now += after
            self.enforcer.look(self.handle, self.now, after)

    @property
    def stands(self) -> tuple[list[str], bool, dict[Any, Any]]:
        """Whether it was replaced, whether it was killed, and for what."""
        return self.child_processes.replaced, self.handle.is_leaving, self.handle.verdicts


Watching = Callable[..., Watched]
UNHARMED: tuple[list[str], bool, dict[Any, Any]] = ([], False, {})


@pytest.fixture
def handle() -> Iterator[ChildHandle]:
    """A true child, which waits for its first frame."""
    handle = ChildHandle("w.1", 0, 4)
    yield handle
    handle._process.kill()
    handle._process.wait()
    handle.close()
    os.close(handle.reports)


@pytest.fixture
async def watched(handle: ChildHandle, redis_url: str) -> AsyncIterator[Watching]:
    """Has the child run a job until a time."""
    store = AsyncStore(target(redis_url))
    yield lambda until=0.0: Watched(handle, store, until)
    await store.close()


async def test_a_child_that_does_not_act_on_a_limit_is_condemned_and_killed(
    handle: ChildHandle, watched: Watching
) -> None:
    one = watched(until=100.0)

    one.look(ENOUGH)
    assert one.stands == UNHARMED
    one.look()

    assert one.stands == (["w.1"], True, {KEY: TimedOut(LIMIT)})
    assert handle._process.wait() == -9


async def test_a_child_that_acts_on_a_limit_gets_the_time_of_its_act(handle: ChildHandle, watched: Watching) -> None:
    one = watched(until=100.0)
    one.look(ENOUGH)

    one.board.limit(one.place, one.now + 5.0, LIMIT)
    one.look(round(5.0 / LOOK_EVERY))
    assert one.stands == UNHARMED
    one.look(ENOUGH)
    assert one.stands == UNHARMED, "and its patience begins anew"
    one.look(2)

    assert one.stands == (["w.1"], True, {KEY: TimedOut(LIMIT)}), "its limit is what it was"


async def test_time_in_which_the_machine_stood_still_is_not_held_against_a_child(
    handle: ChildHandle, watched: Watching
) -> None:
    one = watched(until=101.0)

    one.look(after=3600.0)
    one.look(ENOUGH - 1, after=60.0)
    assert one.stands == UNHARMED

    one.board.returned(one.place)
    one.look(ENOUGH)
    assert one.stands == UNHARMED


async def test_a_job_that_freezes_its_child_is_held_to_its_limit(handle: ChildHandle, watched: Watching) -> None:
    one = watched(until=100.0)

    handle.stopped_at = 100.0
    one.look(ENOUGH + 1)

    assert one.stands == (["w.1"], True, {KEY: TimedOut(LIMIT)})


async def test_a_limit_that_was_moved_between_two_looks_begins_anew(handle: ChildHandle, watched: Watching) -> None:
    one = watched(until=100.0)

    one.look(ENOUGH)
    one.board.limit(one.place, one.now + 1.5 * LOOK_EVERY, LIMIT)
    one.look()
    one.look(ENOUGH)

    assert one.stands == UNHARMED


async def test_a_cancelled_run_that_heeds_nothing_condemns_its_child_after_all_its_stages(
    handle: ChildHandle, watched: Watching, raw: redis.Redis
) -> None:
    Seed(raw, LANE).running("a", FENCE, child="w.1", cancel="ann")
    one = watched()
    last = CONFIG.cancel_grace + STAGES * CONFIG.stop_grace + SLACK
    handle.cancel("mail.0.a", FENCE, "ann")

    one.look(round(last / LOOK_EVERY), after=3600.0)
    assert one.stands == UNHARMED
    one.look()

    assert one.stands == (["w.1"], True, {KEY: Cancelled("ann")})

    async def is_noted() -> bool:
        return b"condemned" in cast(bytes, raw.hget(LANE.runs, "mail.0.a"))

    await await_until(is_noted, why="the stage is noted")


async def test_a_cancelled_run_whose_hooks_run_is_not_held_against_its_child(
    handle: ChildHandle, watched: Watching
) -> None:
    one = watched()
    last = CONFIG.cancel_grace + STAGES * CONFIG.stop_grace + SLACK
    handle.cancel("mail.0.a", FENCE, "ann")

    one.board.ended(one.place)
    one.look(2 * round(last / LOOK_EVERY))

    assert one.stands == UNHARMED


async def test_a_condemned_child_is_not_killed_while_the_hooks_of_a_neighbour_run(
    handle: ChildHandle, watched: Watching
) -> None:
    one = watched(until=100.0)
    neighbour = one.post("mail.0.b")
    one.board.ended(neighbour)

    one.look(ENOUGH + 1)
    one.look(round(CONFIG.grace / LOOK_EVERY) - 2)
    assert one.stands == (["w.1"], False, {KEY: TimedOut(LIMIT)})

    one.board.clear(neighbour)
    one.look()
    assert handle.is_leaving


async def test_neighbours_get_their_grace_in_looks(handle: ChildHandle, watched: Watching) -> None:
    one = watched(until=100.0)
    neighbour = one.post("mail.0.b")

    one.look(ENOUGH + 1)
    one.look(round(CONFIG.grace / LOOK_EVERY) - 2, after=3600.0)
    assert one.stands == (["w.1"], False, {KEY: TimedOut(LIMIT)})

    one.board.returned(neighbour)
    one.look()
    assert not handle.is_leaving, "its end may still be on its way"
    one.board.clear(neighbour)
    one.look()
    assert handle.is_leaving
