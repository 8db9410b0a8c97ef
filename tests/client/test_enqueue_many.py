"""Many jobs at once: a receipt each, in order, in bounded memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, EncodingError, Fleet, InvalidJob, Job, JobStatus, Receipt
from jobfleet.errors import JobfleetError
from jobfleet.store.keys import Keyspace
from tests.client.either import Either
from tests.support.each import each

KEYS = Keyspace("jobfleet")


def told(receipts: list[Receipt]) -> list[tuple[str, bool, type[JobfleetError] | None]]:
    return [(one.id, one.created, type(one.error) if one.error else None) for one in receipts]


def sums(count: int, **options: Any) -> Iterator[Job]:
    return (Job("Sum", "app.add", (n, n), id=f"n{n}", **options) for n in range(count))


async def test_every_job_has_its_receipt_in_order(client: Either, raw: redis.Redis) -> None:
    receipts = await client.all("enqueue_many", sums(230), chunk=100)

    assert receipts == [Receipt(id=f"default.0.n{n}", created=True, status=JobStatus.QUEUED) for n in range(230)]
    assert raw.zcard(KEYS.lane("default", 0).ready[2]) == 230


async def test_nothing_makes_no_receipts(client: Either) -> None:
    assert await client.all("enqueue_many", []) == []


async def test_jobs_of_several_queues_keep_their_order(client: Either) -> None:
    jobs = [Job("Sum", "app.add", (n, n), queue=f"q{n % 3}", id=f"n{n}") for n in range(12)]

    receipts = await client.all("enqueue_many", jobs)

    assert [one.id for one in receipts] == [f"q{n % 3}.0.n{n}" for n in range(12)]


async def test_a_job_that_is_refused_has_its_error_in_its_receipt_and_the_others_go_on(client: Either) -> None:
    first, second, third = sums(3)
    bad = Job("Bad", "app.add", (object(),), id="bad")
    worse = Job("Cleanup", lambda: None, id="worse")

    receipts = await client.all("enqueue_many", [first, bad, second, worse, third, second])

    assert told(receipts) == [
        ("default.0.n0", True, None),
        ("bad", False, EncodingError),
        ("default.0.n1", True, None),
        ("worse", False, InvalidJob),
        ("default.0.n2", True, None),
        ("default.0.n1", False, None),
    ]


async def test_an_interrupted_run_is_repeated_with_the_same_ids(client: Either, raw: redis.Redis) -> None:
    await client.all("enqueue_many", sums(40))

    receipts = await client.all("enqueue_many", sums(60))

    assert [one.created for one in receipts] == [False] * 40 + [True] * 20
    assert raw.zcard(KEYS.lane("default", 0).ready[2]) == 60


def test_jobs_are_taken_while_receipts_are_iterated(fleet: Fleet, raw: redis.Redis) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[Job]:
        for number, job in enumerate(sums(100)):
            taken.append(number)
            yield job

    receipts = fleet.enqueue_many(jobs(), chunk=10)
    before = len(taken)
    next(receipts)

    assert (before, len(taken)) == (0, 10)
    assert raw.zcard(KEYS.lane("default", 0).ready[2]) == 10


async def test_jobs_are_taken_while_receipts_are_awaited(redis_url: str) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[Job]:
        for number, job in enumerate(sums(100)):
            taken.append(number)
            yield job

    async with AsyncFleet(redis_url) as fleet:
        receipts = aiter(fleet.enqueue_many(jobs(), chunk=10))
        with pytest.warns(UserWarning, match="No worker has published 'app.add'"):
            await anext(receipts)

    assert len(taken) == 10


async def test_awaiting_gives_the_list(redis_url: str, fleet: Fleet) -> None:
    async with AsyncFleet(redis_url, registry=fleet.context.registry) as client:
        receipts = await client.enqueue_many(sums(3))

    assert told(receipts) == [(f"default.0.n{n}", True, None) for n in range(3)]


def forget(fleet: Fleet | AsyncFleet) -> None:
    fleet.enqueue_many(sums(3))
    gc.collect()


def test_receipts_that_nobody_iterates_warn(fleet: Fleet, raw: redis.Redis) -> None:
    with pytest.warns(RuntimeWarning, match=r"^enqueue_many was not iterated: nothing was enqueued\.$"):
        forget(fleet)

    assert raw.dbsize() == 0


async def test_receipts_that_nobody_awaits_warn(redis_url: str) -> None:
    async with AsyncFleet(redis_url) as fleet:
        with pytest.warns(RuntimeWarning, match=r"^enqueue_many was not awaited: nothing was enqueued\.$"):
            forget(fleet)


@pytest.mark.parametrize("chunk", [1, 50, 51, 1000])
async def test_the_chunk_changes_nothing_but_the_trips(client: Either, chunk: int, raw: redis.Redis) -> None:
    receipts = await client.all("enqueue_many", sums(120), chunk=chunk)

    assert [one.id for one in receipts] == [f"default.0.n{n}" for n in range(120)]
    assert all(one.created for one in receipts)


def test_jobs_go_to_all_lanes_of_their_queue(redis_url: str, fleet: Fleet, raw: redis.Redis) -> None:
    with Fleet(redis_url, registry=fleet.context.registry, lanes="mail=4") as wide:
        receipts = list(wide.enqueue_many(Job("Sum", "app.add", (n, n), queue="mail") for n in range(200)))

    assert {one.id.split(".")[1] for one in receipts} == {"0", "1", "2", "3"}
    counts = [raw.zcard(KEYS.lane("mail", lane).ready[2]) for lane in range(4)]
    assert sum(counts) == 200
    assert min(counts) > 20


@each("chunk", [0, -5])
async def test_a_chunk_below_one_is_one(client: Either, chunk: int) -> None:
    assert len(await client.all("enqueue_many", sums(3), chunk=chunk)) == 3
