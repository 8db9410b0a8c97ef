"""All waits of a client share one connection: however many, over restarts, forks, event loops and closing."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Fleet, Job, JobFailed, JobResult, StoreUnavailable, WaitTimeout
from jobfleet.client._async.endings import AsyncEndings
from jobfleet.client._async.events import tail
from jobfleet.client._sync.endings import Endings
from jobfleet.client._sync.listener import Watch
from jobfleet.client.base import Deadline
from jobfleet.functions.registry import Registry
from tests.client.conftest import Work
from tests.client.either import Either, finished
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

LONG = 60
MANY = 300
NEVER = 3600


def add() -> Job:
    return Job("Sum", "app.add", (1, 2))


def subscribed(raw: redis.Redis) -> int:
    """How many channels of jobs have a subscriber."""
    return len(raw.pubsub_channels("*events:*"))


def clients(raw: redis.Redis, kind: str) -> int:
    return len(raw.client_list(_type=kind))


def nodes(raw: Any) -> int:
    """The servers that a client has connections to, each with a limit of its own."""
    return len(raw.get_primaries()) if hasattr(raw, "get_primaries") else 1


async def test_many_awaited_waits_share_a_connection(
    redis_url: str, raw: redis.Redis, registry: Registry, work: Work
) -> None:
    before = clients(raw, "normal")
    async with AsyncFleet(redis_url, registry=registry, max_connections=8) as fleet:
        ids = [receipt.id for receipt in await fleet.enqueue_many(add() for _ in range(MANY))]
        waits = [asyncio.create_task(fleet.wait(job_id, timeout=LONG)) for job_id in ids]
        await asyncio.to_thread(wait_until, lambda: subscribed(raw) == MANY, why="all wait")
        seen = clients(raw, "pubsub"), clients(raw, "normal") - before

        await work()
        results = await asyncio.gather(*waits)
        await asyncio.to_thread(wait_until, lambda: subscribed(raw) == 0, why="nobody waits any more")

    assert {result.result for result in results} == {3}
    assert seen[0] == 1
    assert seen[1] <= 8 * nodes(raw)


def test_many_waits_in_threads_share_a_connection(
    redis_url: str, raw: redis.Redis, registry: Registry, work: Work
) -> None:
    before, done = clients(raw, "normal"), []
    with Fleet(redis_url, registry=registry, max_connections=8) as fleet:
        ids = [receipt.id for receipt in fleet.enqueue_many(add() for _ in range(MANY))]
        threads = [
            threading.Thread(target=lambda job_id=job_id: done.append(fleet.wait(job_id, timeout=LONG)), daemon=True)
            for job_id in ids
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: subscribed(raw) == MANY, why="all wait")
        seen = clients(raw, "pubsub"), clients(raw, "normal") - before

        asyncio.run(_done(work))
        for thread in threads:
            thread.join(LONG)
        wait_until(lambda: subscribed(raw) == 0, why="nobody waits any more")

    assert [result.result for result in done] == [3] * MANY
    assert seen[0] == 1
    assert seen[1] <= 8 * nodes(raw)


async def _done(work: Work) -> None:
    await work()


async def test_waits_events_and_logs_share_a_connection(client: Either, raw: redis.Redis, work: Work) -> None:
    job_id = await client("enqueue", Job("Steps", "app.steps", (3,), queue="default", delay=NEVER))
    tasks = [
        asyncio.create_task(client("wait", job_id, timeout=LONG)),
        asyncio.create_task(client.all("events", job_id)),
        asyncio.create_task(client.all("logs", job_id, follow=True)),
    ]
    await asyncio.to_thread(wait_until, lambda: subscribed(raw) == 1, why="they listen")
    await asyncio.to_thread(wait_until, lambda: clients(raw, "pubsub") == 1, why="over one connection")

    await client("reschedule", job_id, delay=0)
    await work()

    result, events, _ = await asyncio.gather(*tasks)
    assert result.result == 3
    assert {"claimed", "completed"} <= {event.event for event in events}


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.mark.parametrize("kind", [Fleet, AsyncFleet])
async def test_a_wait_goes_on_over_a_restart(
    kind: type[Fleet | AsyncFleet], own_server: RedisServer, registry: Registry
) -> None:
    client = Either(kind(own_server.url, registry=registry, patience=LONG))
    job_id = await client("enqueue", add())
    waiting = asyncio.create_task(client("wait", job_id, timeout=LONG))
    raw = own_server.client()
    await asyncio.to_thread(wait_until, lambda: subscribed(raw) == 1, why="it waits")

    await asyncio.to_thread(own_server.restart)
    raw = own_server.client()
    await asyncio.to_thread(wait_until, lambda: subscribed(raw) == 1, why="it waits again")
    with Fleet(own_server.url, registry=registry) as worker:
        await asyncio.to_thread(worker.run_worker, burst=True)

    assert (await waiting).result == 3
    await client.close()


async def test_closing_a_client_ends_its_waits(client: Either, raw: redis.Redis) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2), delay=NEVER))
    waiting = asyncio.create_task(client("wait", job_id, timeout=LONG))
    await asyncio.to_thread(wait_until, lambda: subscribed(raw) == 1, why="it waits")

    await client.close()

    with pytest.raises(StoreUnavailable, match=r"^The client was closed while it waited for jobs\.$"):
        await waiting
    await asyncio.to_thread(wait_until, lambda: clients(raw, "pubsub") == 0, why="it has hung up")


async def test_a_client_that_was_closed_can_wait_again(client: Either, work: Work) -> None:
    for _ in range(2):
        job_id = await client("enqueue", add())
        waiting = asyncio.create_task(client("wait", job_id, timeout=LONG))
        await work()
        assert (await waiting).result == 3
        await client.close()


async def test_an_idle_listener_hangs_up_and_begins_again(
    client: Either, raw: redis.Redis, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.client._sync.listener.IDLE", 0.05)
    monkeypatch.setattr("jobfleet.client._async.listener.IDLE", 0.05)
    for _ in range(2):
        job_id = await client("enqueue", add())
        waiting = asyncio.create_task(client("wait", job_id, timeout=LONG))
        await asyncio.to_thread(wait_until, lambda: subscribed(raw) == 1, why="it waits")
        await work()
        assert (await waiting).result == 3
        await asyncio.to_thread(wait_until, lambda: clients(raw, "pubsub") == 0, why="it has hung up")


async def test_a_cancelled_wait_leaves_the_others_alone(redis_url: str, raw: redis.Redis, registry: Registry) -> None:
    async with AsyncFleet(redis_url, registry=registry) as fleet:
        ids = [await fleet.enqueue(add()) for _ in range(2)]
        waits = [asyncio.create_task(fleet.wait(job_id, timeout=LONG)) for job_id in (*ids, ids[1])]
        await asyncio.to_thread(wait_until, lambda: subscribed(raw) == 2, why="they wait")

        for wait in waits[:2]:
            wait.cancel()
        await asyncio.to_thread(wait_until, lambda: subscribed(raw) == 1, why="one channel is left")
        with Fleet(redis_url, registry=registry) as worker:
            await asyncio.to_thread(worker.run_worker, burst=True)

        assert (await waits[2]).result == 3


def test_a_fleet_waits_on_one_event_loop_after_the_other(redis_url: str, registry: Registry, work: Work) -> None:
    async def once(fleet: AsyncFleet) -> int:
        job_id = await fleet.enqueue(add())
        waiting = asyncio.create_task(fleet.wait(job_id, timeout=LONG))
        await work()
        result = await waiting
        await fleet.aclose()
        return int(result.result or 0)

    fleet = AsyncFleet(redis_url, registry=registry)
    assert [asyncio.run(once(fleet)) for _ in range(2)] == [3, 3]


def refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_waits_go_on_after_a_thread_could_not_be_started(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, raw: redis.Redis
) -> None:
    job_id = fleet.enqueue(add())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            fleet.wait(job_id, timeout=LONG)
    done: list[JobResult[object]] = []
    thread = threading.Thread(target=lambda: done.append(fleet.wait(job_id)), daemon=True)
    thread.start()
    wait_until(lambda: subscribed(raw) == 1, why="it waits")
    fleet.run_worker(burst=True)
    thread.join(LONG)

    assert [result.result for result in done] == [3]


def test_a_client_closes_after_a_thread_could_not_be_started(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = fleet.enqueue(add())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            fleet.wait(job_id, timeout=LONG)

    fleet.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_job_that_ends_with_the_time_is_reported_once(
    kind: str, redis_url: str, raw: redis.Redis, registry: Registry, work: Work
) -> None:
    client = Either((Fleet if kind == "sync" else AsyncFleet)(redis_url, registry=registry))
    ended, waiting = await client("enqueue", add()), await client("enqueue", Job("Sum", "app.add", (1, 2), delay=NEVER))
    endings: Any = (Endings if kind == "sync" else AsyncEndings)(client.fleet, Deadline(0))  # type: ignore[arg-type]
    await finished(endings.add, [ended, waiting])
    await work()

    assert (await finished(endings.next))[0] == ended
    await asyncio.to_thread(wait_until, lambda: subscribed(raw) == 1, why="the listener has reported it, too")
    with pytest.raises(WaitTimeout) as caught:
        await finished(endings.next)

    assert list(caught.value.job_ids) == [waiting]
    endings.close()
    await client.close()


def test_a_client_that_was_closed_polls_no_more(own_server: RedisServer, registry: Registry) -> None:
    fleet = Fleet(own_server.url, registry=registry)
    job_id = fleet.enqueue(add())
    own_server.pause()
    try:
        Watch(fleet.listener).add([job_id])
        fleet.close()
        wait_until(lambda: "jobfleet-listener" not in {thread.name for thread in threading.enumerate()}, why="it ends")
    finally:
        own_server.resume()

    assert fleet._store is None, "a poll would open a connection that nobody closes"


async def test_a_tail_that_is_cancelled_before_it_hears_leaves_no_subscription(
    own_server: RedisServer, registry: Registry
) -> None:
    raw = own_server.client()
    async with AsyncFleet(own_server.url, registry=registry) as fleet:
        job_id = await fleet.enqueue(add())
        raw.acl_setuser("default", enabled=True, reset_channels=True)
        hearing = asyncio.ensure_future(anext(tail(fleet)))
        await asyncio.to_thread(wait_until, lambda: raw.info("stats")["acl_access_denied_channel"], why="it subscribes")
        hearing.cancel()
        await asyncio.wait((hearing,))
        raw.acl_setuser("default", enabled=True, channels=["*"])
        waiting = asyncio.create_task(fleet.wait(job_id))
        wanted = [fleet.context.keys.lane_of(job_id).job_events(job_id).encode()]

        await asyncio.to_thread(wait_until, lambda: raw.pubsub_channels() == wanted, timeout=LONG, why="only it waits")

        waiting.cancel()


def test_a_forked_child_that_closes_its_client_does_not_end_its_parents_waits(fleet: Fleet, raw: redis.Redis) -> None:
    job_id = fleet.enqueue(add())
    done: list[JobResult[object]] = []
    thread = threading.Thread(target=lambda: done.append(fleet.wait(job_id, LONG)), daemon=True)
    thread.start()
    wait_until(lambda: subscribed(raw) == 1, why="the parent waits")
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        fleet.close()
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    fleet.run_worker(burst=True)
    thread.join(LONG)
    assert [result.result for result in done] == [3]


def test_a_forked_child_listens_by_itself(fleet: Fleet, raw: redis.Redis) -> None:
    """The child fails a wait in time if it used what its parent left behind."""
    job_id = fleet.enqueue(Job("Sum", "app.add", (1, 2), delay=NEVER))
    ended = fleet.enqueue(Job("Fail", "app.fail", ("no luck",), delay=NEVER))
    thread = threading.Thread(target=fleet.wait, args=(job_id, LONG), daemon=True)
    thread.start()
    wait_until(lambda: subscribed(raw) == 1, why="the parent waits")
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        code = 1
        try:
            fleet.gather([ended], timeout=LONG)
        except JobFailed:
            code = 0
        finally:
            os._exit(code)
    wait_until(lambda: subscribed(raw) == 2, why="the child waits, too")

    fleet.reschedule(ended, delay=0)
    fleet.run_worker(burst=True)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    fleet.cancel(job_id)
    thread.join(LONG)
    assert not thread.is_alive()
