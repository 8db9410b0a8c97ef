"""A child with few slots claims ahead while its jobs are very short; what waits for a slot never waits long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from jobfleet import Fleet, JobHandle
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from jobfleet.worker.child import holding
from jobfleet.worker.child.holding import BRIEF, STREAK, ClaimAhead
from jobfleet.worker.run.run import Run
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)
SLOTS = 2
QUICK = 100
LATER = 6


class Seen:
    """What the child has held and put back."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.put_back: list[str] = []


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """A child that takes all jobs for short ones, however slow the machine is."""
    seen = Seen()
    hold, put_back = ClaimAhead.hold, ClaimAhead._put_back
    monkeypatch.setattr(holding, "SHORT", 60.0)
    monkeypatch.setattr(holding, "WAIT", 60.0)

    def held(self: ClaimAhead, run: Run) -> None:
        seen.held.append(run.id)
        hold(self, run)

    def back(self: ClaimAhead, run: Run) -> None:
        seen.put_back.append(run.id)
        put_back(self, run)

    monkeypatch.setattr(ClaimAhead, "hold", held)
    monkeypatch.setattr(ClaimAhead, "_put_back", back)
    return seen


def ready(raw: redis.Redis) -> list[str]:
    """The jobs that are ready, in order."""
    rows: Any = raw.zrange(LANE.ready[2], 0, -1)
    return [row.decode() for row in rows]


def waiting(raw: redis.Redis) -> tuple[int, int]:
    """How many jobs are leased, and how many are ready."""
    return int(raw.zcard(LANE.lease)), int(raw.zcard(LANE.ready[2]))


def test_no_more_jobs_run_than_there_are_slots_and_each_runs_once(
    fleet: Fleet, registry: Registry, working: Working, raw: redis.Redis, seen: Seen
) -> None:
    running, most, ran = 0, 0, list[int]()

    async def short(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        ran.append(number)
        running -= 1

    function = registry.register(short, name="test.short", fleet=fleet)
    handles = [function.enqueue(number) for number in range(200)]
    with working(slots=4):
        for handle in handles:
            handle.result(timeout=60)

    assert most == 4
    assert ran == list(range(200))  # in order, because all have one priority
    assert len(seen.held) > 50
    assert seen.put_back == []
    assert waiting(raw) == (0, 0)


@contextmanager
def full_of_long_jobs(
    fleet: Fleet, registry: Registry, working: Working, seen: Seen
) -> Iterator[tuple[list[JobHandle[Any]], threading.Event, threading.Event]]:
    """A worker whose slots are taken by long jobs after many short ones, with more short jobs behind."""
    go_on, tries = threading.Event(), list[int]()

    async def short() -> None:
        tries.append(1)

    async def long() -> None:
        while not go_on.is_set():
            await asyncio.sleep(0.01)

    quick = registry.register(short, name="test.short", fleet=fleet)
    slow = registry.register(long, name="test.long", fleet=fleet)
    for _ in range(QUICK):
        quick.enqueue()
    slows = [slow.enqueue() for _ in range(SLOTS)]
    later = [quick.enqueue() for _ in range(LATER)]
    with working(slots=SLOTS) as stop:
        wait_until(lambda: all(one.poll().status == "running" for one in slows), why="the long jobs run")
        yield later, go_on, stop
        go_on.set()
    assert all(one.poll().status == "completed" for one in slows)


def test_jobs_that_wait_behind_long_ones_go_back_to_their_places(
    fleet: Fleet,
    registry: Registry,
    working: Working,
    raw: redis.Redis,
    seen: Seen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holding, "WAIT", 0.5)
    with full_of_long_jobs(fleet, registry, working, seen) as (later, go_on, _):
        wait_until(lambda: waiting(raw) == (SLOTS, LATER), why="the others are ready again")
        order = ready(raw)
        assert order == [one.id for one in later]
        assert raw.exists(LANE.tries) == 0
        go_on.set()
        for one in later:
            one.result(timeout=60)

    assert 0 < len(seen.put_back) <= LATER
    assert set(seen.put_back) <= {one.id for one in later}


@pytest.mark.parametrize("what", ["cancelled", "drained"])
def test_a_job_that_waits_for_a_slot_is_cancelled_or_given_back_at_once(
    fleet: Fleet, registry: Registry, working: Working, raw: redis.Redis, seen: Seen, what: str
) -> None:
    with full_of_long_jobs(fleet, registry, working, seen) as (later, _, stop):
        held = wait_until(lambda: [one for one in later if one.id in seen.held], why="some wait for a slot")
        if what == "cancelled":
            fleet.cancel(held[-1].id)
            wait_until(lambda: held[-1].poll().status == "cancelled", why="it is cancelled")
        else:
            stop.set()
            wait_until(lambda: waiting(raw) == (SLOTS, LATER), why="the others are ready again")
            assert raw.exists(LANE.tries) == 0
            assert ready(raw) == [one.id for one in later]


class Events:
    """Learns that the room has changed."""

    def __init__(self) -> None:
        self.changes = 0

    def room_changed(self) -> None:
        self.changes += 1


def made(slots: int) -> tuple[ClaimAhead, Events, Callable[..., None]]:
    events: Any = Events()
    conclusions: Any = None
    ahead = ClaimAhead(slots, may_run=lambda: False, conclusions=conclusions, events=events)

    def admit(times: int = 1, **facts: bool) -> None:
        for _ in range(times):
            ahead.admitted(**{"was_idle": True, "is_full": True, **facts})

    return ahead, events, admit


async def test_only_a_streak_of_full_claims_of_short_jobs_claims_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "SHORT", 60.0)
    ahead, events, admit = made(10)
    ahead._since = asyncio.get_running_loop().time()
    admit(STREAK - 1)
    admit(was_idle=False)  # some jobs of the claim before are still running
    admit(STREAK - 1)
    assert (ahead.extra, ahead.least) == (0, 0)
    admit()
    assert (ahead.extra, ahead.least) == (40, 25)
    admit(was_idle=False)
    assert ahead.extra == 40
    admit(is_full=False)
    assert (ahead.extra, ahead.least, events.changes) == (0, 0, 1)
    admit(STREAK)
    ahead.forbid()
    admit(STREAK)
    assert (ahead.extra, events.changes) == (0, 2)

    monkeypatch.setattr(holding, "SHORT", 0.0)
    slow, _, admit = made(10)
    admit(2 * STREAK)
    assert slow.extra == 0


@pytest.mark.parametrize(("slots", "extra"), [(0, 0), (1, 4), (10, 40), (30, 20), (50, 0), (100, 0)])
async def test_a_child_never_holds_more_than_one_claim_can_return(
    monkeypatch: pytest.MonkeyPatch, slots: int, extra: int
) -> None:
    monkeypatch.setattr(holding, "SHORT", 60.0)
    ahead, _, admit = made(slots)
    ahead._since = asyncio.get_running_loop().time()
    admit(STREAK)
    assert ahead.extra == extra


async def test_while_no_job_waits_long_a_child_claims_more_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "SHORT", 60.0)
    ahead, _, admit = made(2)
    ahead._since = asyncio.get_running_loop().time()
    admit(STREAK)
    seen = [(ahead.extra, ahead.least)]
    for longest in (0.0, BRIEF, 0.0, 0.0, 0.0):
        ahead._longest = longest
        ahead._check()
        admit(was_idle=False)
        seen.append((ahead.extra, ahead.least))

    assert seen == [(8, 5), (18, 10), (18, 10), (38, 20), (48, 25), (48, 25)]
    ahead._check()
    ahead._check()  # no claim has come since the last one
    assert ahead.extra == 0


class Starts(Events):
    """Notes the runs that may start; one of them cannot, and one ends before it has started."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[str] = []
        self.freed: Callable[[], object] = list

    def may_start(self, run: Run) -> None:
        if run.id == "broken":
            raise RuntimeError
        self.started.append(run.id)
        if run.id == "instant":
            self.freed()


@pytest.mark.parametrize("of_process", [True, False])
async def test_a_process_that_is_free_gets_its_next_job_before_anything_else_is_done(of_process: bool) -> None:
    events: Any = Starts()
    nothing: Any = None
    ahead = ClaimAhead(2, may_run=lambda: True, conclusions=nothing, events=events)
    runs: Any = [SimpleNamespace(id=name, lease=SimpleNamespace(until=inf)) for name in ("a", "b")]
    for run in runs:
        ahead.hold(run)

    ahead.slot_freed(of_process=of_process)

    assert events.started == (["a", "b"] if of_process else [])
    await asyncio.sleep(0)
    assert events.started == ["a", "b"]


@pytest.mark.parametrize("of_process", [True, False])
async def test_a_job_that_ends_while_it_is_started_frees_its_slot_too(of_process: bool) -> None:
    events: Any = Starts()
    nothing: Any = None
    ahead = ClaimAhead(2, may_run=lambda: len(events.started) % 2 == 0, conclusions=nothing, events=events)

    def freed() -> None:
        events.started.append("its end")
        ahead.slot_freed(of_process=True)

    events.freed = freed
    runs: Any = [SimpleNamespace(id=name, lease=SimpleNamespace(until=inf)) for name in ("instant", "b")]
    for run in runs:
        ahead.hold(run)

    ahead.slot_freed(of_process=of_process)

    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert events.started == ["instant", "its end", "b"]


async def test_a_job_that_cannot_start_does_not_keep_the_one_before_from_its_ending() -> None:
    events: Any = Starts()
    nothing: Any = None
    ahead = ClaimAhead(2, may_run=lambda: True, conclusions=nothing, events=events)
    run: Any = SimpleNamespace(id="broken", lease=SimpleNamespace(until=inf))
    ahead.hold(run)

    ahead.slot_freed(of_process=True)

    assert events.started == []
