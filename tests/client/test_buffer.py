"""The local buffer of a producer: jobs that are enqueued while the server is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Fleet, Job, JobStatus, StoreUnavailable, WaitTimeout
from jobfleet.clock import boottime
from jobfleet.functions.default_fleet import offer_settings
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace, due_of_score
from tests.client.either import Either
from tests.support.server import RedisServer
from tests.support.waiting import await_until, wait_until

READY = Keyspace("jobfleet").lane("default", 0).ready[2]
Make = Callable[..., Awaitable[Either]]


@pytest.fixture
def away() -> Iterator[RedisServer]:
    """A server that keeps everything when it is killed."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture(params=[Fleet, AsyncFleet], ids=["sync", "async"])
async def make(request: pytest.FixtureRequest, away: RedisServer, registry: Registry) -> AsyncIterator[Make]:
    """Make a client with a buffer; by default it has enqueued a job, so that it knows the queue."""
    made: list[Either] = []

    async def make(*, is_new: bool = False, **settings: Any) -> Either:
        given = {"patience": 0, "buffer": 100, "registry": registry, **settings}
        client = Either(request.param(away.url, **given))
        made.append(client)
        if not is_new:
            await client("enqueue", Job("first", "app.add", (0, 0)))
        return client

    yield make
    for client in made:
        await client("close" if isinstance(client.fleet, Fleet) else "aclose", 0)


def add(number: int, **options: Any) -> Job:
    return Job(f"job {number}", "app.add", (number, 0), **options)


async def flushed(client: Either) -> None:
    async def is_empty() -> bool:
        return client.fleet.buffered == 0

    await await_until(is_empty, why="the buffer is flushed")


def names_in_order(fleet: Fleet) -> list[str]:
    """The labels of the waiting jobs, as a worker would take them."""
    with plain_client(fleet.config.url) as raw:
        ids = [one.decode() for one in raw.zrange(READY, 0, -1)]
    return [str(result and result.name) for result in fleet.poll_many(ids)]


def plain_client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, protocol=2)


@pytest.mark.parametrize("is_new", [False, True], ids=["in the middle", "from the start"])
async def test_jobs_are_kept_while_the_server_is_away_and_flushed_in_order(
    make: Make, away: RedisServer, caplog: pytest.LogCaptureFixture, is_new: bool
) -> None:
    client = await make(is_new=is_new)
    away.kill()

    receipts = [await client("submit", add(number)) for number in range(1, 6)]
    kept = await client("poll", receipts[0].id)

    assert [(one.status, one.created) for one in receipts] == [("buffered", True)] * 5
    assert (kept.status, kept.name, kept.queue, kept.function) == (JobStatus.BUFFERED, "job 1", "default", "app.add")
    assert client.fleet.buffered == 5
    away.restart()
    await flushed(client)
    assert [(await client("poll", one.id)).status for one in receipts] == [JobStatus.QUEUED] * 5
    with Fleet(away.url) as fleet:
        assert names_in_order(fleet)[-5:] == [f"job {number}" for number in range(1, 6)]
    lines = [one.message for one in caplog.records if one.message.startswith("buffer.")]
    assert [line.partition(":")[0].partition(" ")[0] for line in lines] == ["buffer.started", "buffer.flushed"]
    assert "most=100" in lines[0]
    assert "jobs=5 refused=0 dropped=0 after=" in lines[1]


async def test_a_client_without_a_buffer_raises_as_before(make: Make, away: RedisServer) -> None:
    client = await make(buffer=0)
    away.kill()

    with pytest.raises(StoreUnavailable, match=r"^No Redis at .* Start it there, or correct the URL\.$"):
        await client("enqueue", add(1))

    assert (client.fleet.buffered, client.fleet.buffer) == (0, None)


async def test_jobs_of_a_bulk_are_kept_in_order_with_the_refused_ones_in_their_place(
    make: Make, away: RedisServer
) -> None:
    client = await make()
    away.kill()
    jobs = [add(1), Job("bad", "app.add", (object(),)), add(2), add(3, depends_on=["default.0.x"]), add(4)]

    receipts = await client.all("enqueue_many", jobs)

    assert [(one.status, one.created) for one in receipts if one.error is None] == [("buffered", True)] * 3
    assert "Redis must know the jobs that it waits for" in str(receipts[3].error)
    away.restart()
    await flushed(client)
    with Fleet(away.url) as fleet:
        assert names_in_order(fleet)[1:] == ["job 1", "job 2", "job 4"]


async def test_a_bulk_whose_replies_are_lost_makes_no_job_twice(make: Make, away: RedisServer) -> None:
    client = await make()
    exchange = client.fleet.store.link.exchange_as_made

    def cut(commands: Any) -> Any:
        answered = exchange(commands)
        if asyncio.iscoroutine(answered):
            return _cut(answered, away)
        away.kill()
        return [ConnectionError("closed")] * len(answered)

    setattr(client.fleet.store.link, "exchange_as_made", cut)  # noqa: B010 - of either kind
    receipts = await client.all("enqueue_many", [add(number) for number in range(1, 121)])

    assert {one.status for one in receipts} == {"buffered"}
    away.restart()
    await flushed(client)
    with Fleet(away.url) as fleet:
        assert names_in_order(fleet)[1:] == [f"job {number}" for number in range(1, 121)]
        assert fleet.statistics()["queued"] == 121


async def _cut(answered: Awaitable[Any], away: RedisServer) -> Any:
    replies = await answered
    away.kill()
    return [ConnectionError("closed")] * len(replies)


async def test_own_ids_keep_their_order_and_the_same_job_is_kept_once(make: Make, away: RedisServer) -> None:
    client = await make()
    away.kill()
    ids = ["c", "a", "b", "e", "d"]

    receipts = [await client("submit", add(number, id=name)) for number, name in enumerate(ids)]
    again = await client("submit", add(9, id="a"))

    assert (again.id, again.created, again.status) == (receipts[1].id, False, "buffered")
    away.restart()
    await flushed(client)
    with Fleet(away.url) as fleet:
        assert names_in_order(fleet)[1:] == [f"job {number}" for number in range(5)]


async def test_delays_and_expiries_count_from_the_enqueue(
    make: Make, away: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await make()
    away.kill()
    with monkeypatch.context() as patch:  # enqueued 100 s ago
        patch.setattr("jobfleet.client._sync.buffered.boottime", lambda: boottime() - 100)
        patch.setattr("jobfleet.client._async.buffered.boottime", lambda: boottime() - 100)
        later = await client("enqueue", add(1, delay=160))
        due = await client("enqueue", add(2, delay=50))
        expired = await client("enqueue", add(3, expires_in=50))
    away.restart()
    await flushed(client)

    with plain_client(client.fleet.config.url) as raw:
        now = int(raw.time()[0]) + 1
        assert now + 50 < due_of_score(int(raw.zscore(READY, later))) / 1e6 < now + 61
        assert due_of_score(int(raw.zscore(READY, due))) / 1e6 <= now
    await asyncio.to_thread(_work, away.url, client.fleet.context.registry)
    assert (await client("poll", due)).status is JobStatus.COMPLETED
    assert (await client("poll", expired)).status is JobStatus.EXPIRED


def _work(url: str, registry: Registry) -> None:
    with Fleet(url, registry=registry) as fleet:
        fleet.run_worker(burst=True)


async def test_a_wait_and_a_cancellation_follow_a_job_out_of_the_buffer(make: Make, away: RedisServer) -> None:
    client = await make(patience=0.2)
    away.kill()
    first, second = [await client("enqueue", add(number)) for number in (3, 4)]

    with pytest.raises(StoreUnavailable, match=r"still in the local buffer\. This ends only the wait"):
        await client("wait", first)
    with pytest.raises(StoreUnavailable, match="still in the local buffer"):
        await client("cancel", second)
    away.restart()
    assert await _eventually(client, "cancel", second) is True
    await asyncio.to_thread(_work, away.url, client.fleet.context.registry)

    assert (await client("wait", first, timeout=30)).result == 3
    assert (await client("poll", second)).status is JobStatus.CANCELLED


async def _eventually(client: Either, verb: str, *args: Any) -> Any:
    async def attempt() -> list[Any]:
        try:
            return [await client(verb, *args)]
        except StoreUnavailable:
            return []

    return (await await_until(attempt))[0]


async def test_what_only_redis_can_do_is_refused_with_the_reason(make: Make, away: RedisServer) -> None:
    client = await make(is_new=True)
    away.kill()
    refused = {
        "a recurring job is an entry in Redis": add(1, cron_expression="0 2 * * *"),
        "Redis must know the jobs that it waits for": add(1, depends_on=["default.0.x"]),
        "it has callbacks": add(1, on_success=add(2)),
        "has not read its queue and options yet": Job("x", "elsewhere.known", (1,)),
        "its unique key decides on its lane": add(1, unique="key"),
        "its group decides on its lane": add(1, group="acme"),
        "its id decides on its lane": add(1, id="mine"),
    }

    for why, job in refused.items():
        with pytest.raises(StoreUnavailable, match=rf"^No Redis at .*'{job.name}' was not kept .*{why}"):
            await client("enqueue", job)

    assert client.fleet.buffered == 0


async def test_a_job_that_waits_for_one_in_the_buffer_follows_it(make: Make, away: RedisServer) -> None:
    client = await make(patience=20)
    away.kill()
    client.fleet.store.patience = 0
    parent = await client("enqueue", add(1))
    client.fleet.store.patience = 20
    child = asyncio.create_task(client("submit", add(2, depends_on=[parent])))
    await asyncio.to_thread(away.restart)

    assert (await child).status is JobStatus.BLOCKED
    assert (await client("poll", parent)).status is JobStatus.QUEUED


@pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
async def test_a_job_by_name_is_kept_once_the_published_functions_were_read(make: Make, away: RedisServer) -> None:
    client = await make(is_new=True)
    await client("enqueue", Job("x", "elsewhere.known", (1,)))
    away.kill()

    receipt = await client("submit", Job("x", "elsewhere.known", (2,)))

    assert receipt.status == "buffered"


def test_each_of_many_threads_has_its_order(away: RedisServer, registry: Registry) -> None:
    with Fleet(away.url, registry=registry, patience=0, buffer=10_000) as fleet:
        fleet.enqueue(add(0))
        away.kill()

        def produce(thread: int) -> None:
            for number in range(100):
                fleet.enqueue(Job(f"{thread} {number}", "app.add", (thread, number)))

        with ThreadPoolExecutor(8) as threads:
            done = [threads.submit(produce, thread) for thread in range(8)]
            wait_until(lambda: fleet.buffered > 50, why="the threads fill the buffer")
            away.restart()
        for one in done:
            one.result()
        wait_until(lambda: not fleet.buffered, why="the buffer is flushed")

        names = names_in_order(fleet)[1:]
        assert len(names) == 800
        for thread in range(8):
            assert [name for name in names if name.startswith(f"{thread} ")] == [f"{thread} {n}" for n in range(100)]


async def test_each_of_many_tasks_has_its_order(away: RedisServer, registry: Registry) -> None:
    async with AsyncFleet(away.url, registry=registry, patience=0, buffer=10_000) as fleet:
        await fleet.enqueue(add(0))
        away.kill()

        async def produce(task: int) -> None:
            for number in range(50):
                await fleet.enqueue(Job(f"{task} {number}", "app.add", (task, number)))
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(produce(task)) for task in range(20)]
        await flushing(fleet)
        await asyncio.to_thread(away.restart)
        await asyncio.gather(*tasks)
        await flushed(Either(fleet))

        with Fleet(away.url) as other:
            names = names_in_order(other)[1:]
        assert len(names) == 1000
        for task in range(20):
            assert [name for name in names if name.startswith(f"{task} ")] == [f"{task} {n}" for n in range(50)]


async def flushing(fleet: AsyncFleet) -> None:
    async def has_jobs() -> bool:
        return fleet.buffered > 20

    await await_until(has_jobs, why="the tasks fill the buffer")


async def test_a_wait_for_a_buffered_job_has_its_own_limit(make: Make, away: RedisServer) -> None:
    client = await make(patience=60)
    away.kill()
    client.fleet.store.patience = 0
    job_id = await client("enqueue", add(1))

    with pytest.raises((StoreUnavailable, WaitTimeout)):
        await client("wait", job_id, timeout=timedelta(milliseconds=50))


def test_a_worker_process_keeps_no_jobs(
    away: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jobfleet.functions.default_fleet._offered", None)
    with Fleet(away.url, buffer=10) as fleet:
        offer_settings(fleet.config)
        with Fleet(away.url, buffer=10) as inside, caplog.at_level(logging.WARNING):
            assert (fleet.buffer is None, inside.buffer is None) == (False, True)
