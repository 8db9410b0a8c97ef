"""What of many jobs is under way, and what becomes of it when something goes wrong in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Fleet, InvalidJob, Job, JobStatus, Priority, Receipt
from jobfleet.functions.registry import Registry
from jobfleet.model.names import similar_function
from jobfleet.operations.jobs import enqueue as enqueue_one
from jobfleet.operations.submit import TOGETHER
from jobfleet.store.call import Call
from jobfleet.store.calls.control import pause
from jobfleet.store.calls.enqueue import CHUNK
from jobfleet.store.keys import Keyspace
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.link.sync import SocketLink
from tests.client.either import Either
from tests.support.faults import AsyncFlakyLink, Faults, FlakyLink
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)
AT_ONCE = CHUNK * TOGETHER
"""Jobs that are sent with one write."""


def job(number: int, **options: Any) -> Job:
    return Job("Sum", "app.add", (number, number), id=f"n{number}", **options)


def jobs(count: int) -> list[Job]:
    return [job(number) for number in range(count)]


def keyed(number: int, act: Callable[[], object]) -> Job:
    """A job that acts while it is written down."""

    def key(*_: object) -> str:
        act()
        return "key"

    return job(number, unique=key)


def numbers(receipts: Sequence[Receipt]) -> list[int]:
    return [int(one.id.rpartition(".n")[2]) for one in receipts]


def waiting(raw: redis.Redis) -> list[int]:
    members: Any = raw.zrange(LANE.ready[2], 0, -1)
    return sorted(int(member.decode().rpartition(".n")[2]) for member in members)


def flaky(client: Either, **options: Any) -> Faults:
    """Let a client's replies be lost."""
    faults = Faults(**options)
    store = client.fleet.store
    if isinstance(store.link, SocketLink):
        store.link = FlakyLink(store.link, faults)
    elif isinstance(store.link, AsyncSocketLink):
        store.link = AsyncFlakyLink(store.link, faults)
    return faults


class Trips:
    """A recorder that remembers which scripts were run in each trip."""

    def __init__(self) -> None:
        self.scripts: list[list[str]] = []

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        if calls:
            self.scripts.append([call.script.name for call in calls])

    def stumbled(self, error: BaseException) -> None:
        raise error

    def counted(self, verb: str, by: int) -> None:
        pass


@pytest.fixture
async def ready(client: Either) -> Either:
    """Either client, which knows its queue."""
    await client("enqueue", Job("Sum", "app.add", (0, 0), queue="elsewhere"))
    await client("enqueue", Job("Sum", "app.add", (0, 0), priority=Priority.LOW))
    return client


@pytest.mark.filterwarnings("ignore:No worker has published")
@pytest.mark.parametrize("name", ["app.add", "app.far"], ids=["known here", "unknown"])
async def test_full_calls_are_under_way_while_the_rest_is_written_down(
    ready: Either, raw: redis.Redis, name: str
) -> None:
    seen: list[int] = []

    def look() -> None:
        wait_until(lambda: raw.zcard(LANE.ready[2]) == AT_ONCE, timeout=20, why="the first calls have been run")
        seen.append(raw.zcard(LANE.ready[2]))

    given = [replace(one, function=name) for one in jobs(AT_ONCE + CHUNK - 1)]
    receipts = await ready.all("enqueue_many", [*given, keyed(AT_ONCE + CHUNK - 1, look)])

    assert seen == [AT_ONCE]
    assert numbers(receipts) == waiting(raw) == list(range(AT_ONCE + CHUNK))


@pytest.mark.parametrize("count", [1, 49, 50, 51, 149, 150, 151, 1000])
async def test_a_chunk_of_known_jobs_is_one_trip(ready: Either, count: int) -> None:
    ready.fleet.store.recorder = trips = Trips()

    receipts = await ready.all("enqueue_many", jobs(count))

    assert numbers(receipts) == list(range(count))
    assert trips.scripts == [["enqueue_plain"] * -(-count // CHUNK)]


@pytest.mark.filterwarnings("ignore:No worker has published")
async def test_functions_that_nobody_knows_cost_no_trip_each(ready: Either) -> None:
    ready.fleet.store.recorder = trips = Trips()

    receipts = await ready.all("enqueue_many", [Job("Far", "app.far", id=f"n{number}") for number in range(400)])

    assert numbers(receipts) == list(range(400))
    assert trips.scripts == [["fleet"], ["enqueue_plain"] * 8]


async def test_what_has_to_be_asked_in_the_middle_leaves_the_rest_as_it_was(ready: Either, raw: redis.Redis) -> None:
    parent = (await ready("submit", Job("Sum", "app.add", (1, 1)))).id
    given = [job(number, queue=f"new{number}" if number in (160, 170) else None) for number in range(400)]
    given[180] = job(180, depends_on=[parent])
    given[190] = job(190, depends_on=["default.0.nobody"])

    receipts = await ready.all("enqueue_many", given)

    assert [one.id for one in receipts if one.error is None] == [
        f"{one.queue or 'default'}.0.{one.id}" for one in given if one is not given[190]
    ]
    assert [place for place, one in enumerate(receipts) if not one.created] == [190]
    assert [one.status for one in receipts[179:182]] == [JobStatus.QUEUED, JobStatus.BLOCKED, JobStatus.QUEUED]
    assert len(waiting_in(raw, "new160") + waiting_in(raw, "new170")) == 2


def waiting_in(raw: redis.Redis, queue: str) -> list[Any]:
    members: Any = raw.zrange(Keyspace("jobfleet").lane(queue, 0).ready[2], 0, -1)
    return list(members)


@pytest.mark.parametrize("seed", range(3))
async def test_lost_replies_lose_no_job_and_double_none(ready: Either, seed: int, raw: redis.Redis) -> None:
    faults = flaky(ready, seed=seed, share=0.5, unsent=0.2, most=6)

    receipts = await ready.all("enqueue_many", jobs(700), chunk=200)

    assert faults.lost
    assert numbers(receipts) == waiting(raw) == list(range(700))
    assert all(one.error is None for one in receipts)


async def test_a_connection_that_is_lost_in_the_middle_loses_no_job(ready: Either, raw: redis.Redis) -> None:
    def cut() -> None:
        raw.client_kill_filter(_type="normal", skipme=True)

    receipts = await ready.all("enqueue_many", [*jobs(AT_ONCE * 2), keyed(AT_ONCE * 2, cut)])

    assert numbers(receipts) == waiting(raw) == list(range(AT_ONCE * 2 + 1))


async def test_a_queue_that_is_paused_takes_the_long_way(ready: Either, raw: redis.Redis) -> None:
    await ready("pause", "default")
    ready.fleet.store.recorder = trips = Trips()

    receipts = await ready.all("enqueue_many", jobs(400), chunk=200)

    assert numbers(receipts) == waiting(raw) == list(range(400))
    assert trips.scripts == [["enqueue"] * 4, ["enqueue"] * 4]


# Errors in the middle


class Failure(Exception):
    """Of a user's function."""


def fail() -> None:
    raise Failure


def interrupt() -> None:
    raise KeyboardInterrupt


def idle(client: Either) -> int:
    link = client.fleet.store.link
    assert isinstance(link, SocketLink | AsyncSocketLink)
    return len(link.pool.idle)


async def test_an_error_while_writing_down_comes_after_what_was_sent_is_answered(
    ready: Either, raw: redis.Redis
) -> None:
    with pytest.raises(Failure):
        await ready.all("enqueue_many", [*jobs(AT_ONCE), *jobs(AT_ONCE + 10)[AT_ONCE:], keyed(999, fail)])

    assert waiting(raw) == list(range(AT_ONCE))
    assert idle(ready) == 1
    assert (await ready("poll", "default.0.n0")).status is JobStatus.QUEUED


def test_an_interrupt_while_writing_down_drops_the_connection(fleet: Fleet) -> None:
    fleet.enqueue(Job("Sum", "app.add", (0, 0)))

    with pytest.raises(KeyboardInterrupt):
        list(fleet.enqueue_many([*jobs(AT_ONCE), keyed(AT_ONCE, interrupt)]))

    assert idle(Either(fleet)) == 0
    assert [one.created for one in fleet.enqueue_many([job(AT_ONCE)])] == [True]


async def test_something_that_is_no_job_is_refused_before_anything_is_sent(ready: Either, raw: redis.Redis) -> None:
    given: list[Any] = [*jobs(AT_ONCE * 2), "no job"]

    with pytest.raises(InvalidJob, match="job is 'no job'"):
        await ready.all("enqueue_many", given)

    assert waiting(raw) == []


async def test_what_stands_around_enqueues_fails_before_anything_is_sent(
    ready: Either, registry: Registry, raw: redis.Redis
) -> None:
    @registry.hooks.around_enqueue
    def around(given: Job) -> Job:
        if given.id == f"n{AT_ONCE * 2}":
            raise Failure
        return given

    with pytest.raises(Failure):
        await ready.all("enqueue_many", jobs(AT_ONCE * 2 + 1))

    assert waiting(raw) == []


async def test_jobs_that_fail_to_come_leave_those_before_enqueued_by_whole_chunks(
    ready: Either, raw: redis.Redis
) -> None:
    def some() -> Iterator[Job]:
        yield from jobs(250)
        raise Failure

    with pytest.raises(Failure):
        await ready.all("enqueue_many", some(), chunk=100)

    assert waiting(raw) == list(range(200))
    assert (await ready("poll", "default.0.n199")).status is JobStatus.QUEUED


def test_whoever_stops_in_the_middle_leaves_nothing_under_way(fleet: Fleet, raw: redis.Redis) -> None:
    receipts = fleet.enqueue_many(jobs(1000), chunk=200)

    assert next(receipts).id == "default.0.n0"

    assert waiting(raw) == list(range(200))
    assert fleet.poll("default.0.n199").status is JobStatus.QUEUED


async def test_whoever_stops_awaiting_in_the_middle_leaves_nothing_under_way(
    redis_url: str, registry: Registry, raw: redis.Redis
) -> None:
    async with AsyncFleet(redis_url, registry=registry) as fleet:
        async for receipt in fleet.enqueue_many(jobs(1000), chunk=200):
            assert receipt.id == "default.0.n0"
            break

        assert waiting(raw) == list(range(200))
        assert (await fleet.poll("default.0.n199")).status is JobStatus.QUEUED


def test_a_fleet_may_be_used_while_its_jobs_are_written_down(fleet: Fleet, raw: redis.Redis) -> None:
    fleet.store.run(pause(LANE, by=None))

    def other() -> None:
        fleet.enqueue(job(1000))

    receipts = list(fleet.enqueue_many([*jobs(AT_ONCE), keyed(AT_ONCE, other)]))

    assert numbers(receipts) == list(range(AT_ONCE + 1))
    assert waiting(raw) == [*range(AT_ONCE + 1), 1000]
    assert idle(Either(fleet)) == 2


async def test_a_job_may_wait_for_a_job_of_the_same_chunk(client: Either) -> None:
    receipts = await client.all("enqueue_many", [job(0), job(1, depends_on=["default.0.n0"]), job(2)])

    assert [receipt.error for receipt in receipts] == [None, None, None]
    assert [receipt.status for receipt in receipts] == [JobStatus.QUEUED, JobStatus.BLOCKED, JobStatus.QUEUED]


async def test_a_name_that_nobody_has_published_is_compared_with_others_once(
    client: Either, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    def meant(name: str, known: Iterable[str]) -> str | None:
        compared.append(name)
        return similar_function(name, known)

    monkeypatch.setattr(enqueue_one, "similar_function", meant)
    with pytest.warns(UserWarning, match="No worker has published 'app.ad'") as warned:
        receipts = await client.all("enqueue_many", [Job("Sum", "app.ad", (1, 2)) for _ in range(3)])
    assert [receipt.created for receipt in receipts] == [True] * 3
    assert (compared, len(warned)) == (["app.ad"], 3)
