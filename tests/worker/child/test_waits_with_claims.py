"""A wait for a marker that brings its claim along, on a real server: whatever is lost or ended, in whichever order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from jobfleet import AsyncFleet, Fleet, Job
from jobfleet.functions.registry import Registry
from jobfleet.metrics.tally import Mute
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.control import pause, resume
from jobfleet.store.calls.lease import bury, claim
from jobfleet.store.target import target
from jobfleet.worker.child import claimer as claimer_module
from jobfleet.worker.child.engine import Engine
from jobfleet.worker.ipc.lease_board import LeaseBoard, board_capacity
from jobfleet.worker.run.handlers import Handlers
from tests.support.waiting import await_until
from tests.worker.child.claiming import CHILD, LANE, OTHER, Scene, WatchedLink

pytestmark = pytest.mark.not_on("cluster", reason="it watches a link to one server; e2e/test_clusters.py has clusters")


@pytest.fixture
async def scene(fleet: Fleet, registry: Registry, raw: redis.Redis) -> AsyncIterator[Scene]:
    made = Scene(fleet, registry, raw, slots=10)
    await made.warm_up()
    made.link.claims.clear()
    yield made
    made.link.may_answer.set()
    await made.claimer.quiet()
    await made.store.close()


async def test_a_job_is_claimed_as_soon_as_its_marker_is_taken(scene: Scene) -> None:
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.taken, why="it is admitted")

    assert scene.link.claims == []
    assert scene.link.claims_with_waits[0][1] == 9
    assert scene.leased() == scene.taken


async def test_the_lease_is_taken_to_begin_before_the_wait(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """When within the wait it began is not known here: the server must not believe it to be over sooner."""
    monkeypatch.setattr(claimer_module, "boottime", lambda: 1_000.0)
    await scene.enqueue()
    await scene.until(lambda: len(scene.taken) == 2 and scene.is_blocking(), why="it waits, from 1,000 on")

    monkeypatch.setattr(claimer_module, "boottime", lambda: 1_001.5)
    await scene.enqueue()
    await scene.until(lambda: len(scene.taken) == 3, why="it is admitted")

    assert scene.untils[-1] == 1_060.0


async def test_what_a_claim_has_brought_whose_reply_was_lost_is_admitted_once(scene: Scene) -> None:
    scene.link.is_lossy = True
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.taken, why="it is admitted")

    scene.link.is_lossy = False
    later = await scene.enqueue()
    await scene.until(lambda: later in scene.taken, why="the next is, too")

    (nonce, _), *_ = scene.link.claims_with_waits
    assert scene.link.claims[0][0] == nonce
    assert scene.taken[1:] == [job, later]


async def test_the_lease_of_a_claim_that_is_repeated_is_taken_to_begin_before_it_was_first_sent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimer_module, "boottime", lambda: 1_000.0)
    await scene.enqueue()
    await scene.until(lambda: len(scene.taken) == 2 and scene.is_blocking(), why="it waits, from 1,000 on")

    scene.link.is_lossy = True
    monkeypatch.setattr(claimer_module, "boottime", lambda: 1_001.5)
    await scene.enqueue()
    await scene.until(lambda: len(scene.taken) == 3, why="it is admitted")

    assert scene.untils[-1] == 1_060.0


async def test_a_connection_that_dies_in_the_wait_costs_nothing(scene: Scene) -> None:
    for client in scene.blocking():
        scene.raw.client_kill_filter(_id=client)
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.taken, why="it is admitted")

    assert scene.taken[1:] == [job]


@pytest.mark.parametrize("as_error", [False, True])
async def test_the_claim_of_a_wait_that_ends_without_a_marker_brings_what_it_finds(
    scene: Scene, as_error: bool
) -> None:
    """As at its time-out, or when its server has become a replica."""
    scene.raw.zadd(LANE.ready[2], {"default.0.unmarked": 1})
    for client in scene.blocking():
        scene.raw.client_unblock(int(client), error=as_error)
    await scene.until(lambda: len(scene.taken) > 1, why="it is admitted")
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.taken, why="the next is, too")

    assert scene.taken[1:] == ["default.0.unmarked", job]


async def test_what_came_with_a_marker_that_was_refused_is_admitted_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.link.refusal = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.taken, why="it is admitted")
    scene.link.refusal = None
    later = await scene.enqueue()
    await scene.until(lambda: later in scene.taken, why="the next is, too")

    assert "claim.deaf" in caplog.text
    assert scene.taken[1:] == [job, later]


async def test_a_fault_while_a_job_is_admitted_ends_no_claiming(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.fault = RuntimeError("planted")
    await scene.enqueue()
    await scene.until(lambda: scene.fault is None, why="it has met the fault")
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.taken, why="the next is admitted")

    assert "RuntimeError: planted" in caplog.text


async def test_a_script_that_the_server_has_forgotten_is_brought_again(scene: Scene) -> None:
    scene.raw.script_flush()
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.taken, why="it is admitted")

    assert scene.taken[1:] == [job]


async def test_a_wait_that_is_ended_after_its_claim_has_run_loses_no_job(scene: Scene) -> None:
    scene.link.may_answer.clear()
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.leased(), why="the server has run the claim")
    await scene.claimer.quiet()

    (nonce, _), *_ = scene.link.claims_with_waits
    assert scene.taken[1:] == [job]
    assert scene.link.claims == [(nonce, 0)]


async def test_a_wait_that_is_ended_before_its_claim_has_run_claims_nothing_however_late_that_arrives(
    scene: Scene,
) -> None:
    await scene.claimer.quiet()
    job = await scene.enqueue()

    late = scene.link.waits[-1][1]
    execute: Any = scene.raw.execute_command
    reply = execute(*late)

    (nonce, _), *_ = reversed(scene.link.claims_with_waits)
    assert scene.link.claims == [(nonce, 0)]
    assert reply[0] == b"empty"
    assert job not in scene.leased()
    assert scene.raw.exists(LANE.wake)


async def test_who_claims_again_after_a_wait_was_ended_is_given_everything_once(scene: Scene) -> None:
    scene.link.may_answer.clear()
    first = await scene.enqueue()
    await scene.until(lambda: first in scene.leased(), why="the server has run the claim")
    await scene.claimer.quiet()
    scene.link.may_answer.set()
    second = await scene.enqueue()
    scene.claimer.resume()
    await scene.until(lambda: second in scene.taken, why="it claims again")

    assert scene.taken[1:] == [first, second]


async def test_a_claim_beside_a_wait_whose_claim_has_run_is_answered_what_that_brought(scene: Scene) -> None:
    scene.link.may_answer.clear()
    first = await scene.enqueue()
    await scene.until(lambda: first in scene.leased(), why="the server has run the claim")
    second = await scene.enqueue()
    scene.claimer.doubt(LANE)
    await scene.until(lambda: second in scene.taken, why="it has claimed beside the wait")
    scene.link.may_answer.set()
    third = await scene.enqueue()
    await scene.until(lambda: third in scene.taken, why="the wait's own answer is passed over, and it goes on")

    (nonce, _), *_ = scene.link.claims_with_waits
    assert [one for one, _ in scene.link.claims[:2]] == [nonce, nonce + 1]
    assert scene.taken[1:] == [first, second, third]
    assert sorted(scene.leased()) == sorted(scene.taken)


async def test_a_claim_beside_a_wait_whose_claim_has_not_run_leaves_that_nothing_to_do(scene: Scene) -> None:
    scene.claimer.doubt(LANE)
    await scene.until(lambda: scene.claimer.is_empty, why="it has claimed beside the wait")
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.taken, why="the marker that the wait has taken is followed by a claim")

    (nonce, _), *_ = scene.link.claims_with_waits
    assert [one for one, _ in scene.link.claims[:2]] == [nonce, nonce + 1]
    assert scene.taken[1:] == [job]
    assert scene.leased() == scene.taken


async def test_a_pause_in_the_wait_hides_no_job(scene: Scene) -> None:
    await scene.store.run(pause(LANE, by="ann"))
    scene.claimer.doubt(LANE)
    await scene.until(lambda: scene.link.claims and scene.claimer.is_empty, why="a claim beside the wait was refused")
    job = await scene.enqueue()
    await scene.store.run(resume(LANE))
    await scene.until(lambda: job in scene.taken, why="it is admitted")

    assert scene.taken[1:] == [job]
    assert scene.leased() == scene.taken


async def test_new_lanes_are_claimed_from_only_once_it_is_known_what_the_wait_has_brought(scene: Scene) -> None:
    """Else what that has brought, and what they bring, would be more than there is room for."""
    scene.slots = 2
    scene.link.may_answer.clear()
    await scene.enqueue("other")
    first = await scene.enqueue()
    await scene.until(lambda: first in scene.leased(), why="the server has run the claim")
    scene.claimer.serve((OTHER, LANE))
    await scene.until(lambda: len(scene.taken) > 1, why="something is admitted")
    scene.slots = 3
    scene.claimer.changed()
    await scene.until(lambda: len(scene.taken) > 2, why="the rest is, too")

    assert scene.taken[1] == first
    assert scene.taken[2].startswith("other.")


async def test_a_wait_that_finds_no_room_any_more_is_ended(scene: Scene) -> None:
    scene.slots = 1
    scene.claimer.recall()
    await scene.until(lambda: scene.link.claims and not scene.is_blocking(), why="it has hung up")
    job = await scene.enqueue()

    assert scene.link.claims[0][1] == 0
    assert job not in scene.leased()
    assert scene.raw.exists(LANE.wake)


async def test_a_process_that_is_to_end_is_brought_no_more_jobs(
    fleet: Fleet, registry: Registry, raw: redis.Redis
) -> None:
    may_end, condemned = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await may_end.wait()

    function = registry.register(stubborn, name="test.stubborn", fleet=fleet)
    link = WatchedLink(fleet.store.at, connect_timeout=5.0, socket_timeout=5.0)
    store = AsyncStore(fleet.store.at, link=link, patience=None)
    config = replace(fleet.config, lease=60.0, slots=10)
    engine = Engine(
        config,
        Handlers(registry, (), config),
        child=CHILD,
        board=LeaseBoard(None, board_capacity(10)),
        store=store,
        tally=Mute(),
        on_condemned=lambda *_: condemned.set(),
    )

    async def has_hung_up() -> bool:
        return link.claims[-1][1] == 0

    engine.start((LANE,))
    try:
        await asyncio.to_thread(function.options(hard_timeout=0.3, max_retries=0).enqueue)
        async with asyncio.timeout(30):
            await condemned.wait()
        await await_until(has_hung_up, timeout=30, why="it asks what the wait has brought, without room for more")
        job_id = (await asyncio.to_thread(function.enqueue)).id
        leased = raw.zrange(LANE.lease, 0, -1)
    finally:
        may_end.set()
        await engine.drain(30)
        await store.close()

    assert len(leased) == 1
    assert job_id.encode() not in leased


async def test_who_is_buried_in_the_wait_is_told(scene: Scene) -> None:
    await scene.store.run(bury(LANE, CHILD))
    job = await scene.enqueue()
    await scene.until(lambda: scene.was_buried, why="it is told")

    assert job not in scene.leased()


async def test_several_lanes_are_waited_for_without_a_claim(scene: Scene) -> None:
    scene.claimer.serve((LANE, OTHER))
    await scene.until(lambda: len(scene.link.waits[-1]) == 1 and scene.is_blocking(), why="it waits")
    jobs = [await scene.enqueue("other"), await scene.enqueue()]
    await scene.until(lambda: len(scene.taken) == 3, why="they are admitted")

    assert sorted(scene.taken[1:]) == sorted(jobs)
    assert len(scene.link.waits[-1]) == 1


async def test_a_lane_to_which_nothing_comes_is_waited_for_without_a_claim(
    fleet: Fleet, registry: Registry, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim with a wait that ends in vain is no harm; one without end would be a job's who waits there unseen."""
    monkeypatch.setattr(claimer_module, "WARM", 0.05)
    scene = Scene(fleet, registry, raw, slots=10)
    await scene.start()
    await scene.enqueue()
    await scene.until(lambda: len(scene.link.waits) == 3 and scene.is_blocking(), why="it waits for long again")
    job = await scene.enqueue()
    await scene.until(lambda: job in scene.taken, why="it is admitted")
    await scene.claimer.quiet()
    await scene.store.close()

    assert [float(wait[0][-1]) for wait in scene.link.waits[:3]] == [claimer_module.BLOCK, 0.05, claimer_module.BLOCK]


async def test_a_burst_is_not_over_while_a_claim_is_owed(fleet: Fleet, registry: Registry, raw: redis.Redis) -> None:
    scene = Scene(fleet, registry, raw, slots=10)
    await scene.start()
    was_empty = scene.claimer.is_empty
    scene.link.may_exchange.clear()
    await scene.enqueue()
    await scene.until(lambda: len(scene.link.claims) == 2, why="it has taken the marker, and claims")
    is_empty = scene.claimer.is_empty
    scene.link.may_exchange.set()
    await scene.claimer.quiet()
    await scene.store.close()

    assert (was_empty, is_empty) == (True, False)


async def test_a_fake_server_runs_the_claim_after_the_wait(registry: Registry) -> None:
    registry.register(lambda: None, name="test.none")
    async with AsyncFleet("memory://waits", registry=registry) as fleet:
        store = AsyncStore(target("memory://waits"), patience=None)
        call = claim(LANE, child=CHILD, nonce=1, lease_us=60_000_000, limit=5)
        wait = store.wait_wake_with(call, LANE, 30.0)
        waiting = asyncio.create_task(wait)
        for _ in range(100):  # until it is stuck in the wait
            await asyncio.sleep(0)
        job_id = await fleet.enqueue(Job("waited for", "test.none"))
        waited = await waiting
        await store.close()

    was_taken, claimed = waited
    assert was_taken
    assert claimed is not None
    assert [grant.id for grant in claimed.grants] == [job_id]
