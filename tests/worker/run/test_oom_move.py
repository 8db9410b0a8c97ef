"""Jobs that go on in another queue: exactly one, whatever happens on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import redis

from jobfleet.codec import read_header, seal
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.steer import MovingJob, moved_entry
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import control, journal, settle
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.calls.lease import claim
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Entry
from jobfleet.store.target import target
from jobfleet.worker.run.endings import OomMover
from jobfleet.worker.run.run import Run
from tests.support.groups import faults

KEYS = Keyspace("jobfleet")
LANE, ROOMY = KEYS.lane("mail", 0), KEYS.lane("roomy", 0)
UNIQUE = Entry("mail.0.k", 1, "", "u report", seal({"function": "f", "unique": "report"}, [], {}))


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[AsyncStore]:
    store = AsyncStore(target(redis_url), patience=2.0)
    yield store
    await store.close()


@pytest.fixture
async def run(store: AsyncStore) -> Run:
    """A run of a job that carries all that can be carried."""
    envelope = seal({"function": "f", "user": "ann", "enqueued_at": 5}, [1], {"b": 2})
    await store.run(enqueue(LANE, [Entry("mail.0.a", 1, "", "x +9000000\nr 5000", envelope)]))
    return await claimed(store, nonce=1)


async def claimed(store: AsyncStore, nonce: int) -> Run:
    answer = await store.run(claim(LANE, child="w.1", nonce=nonce, lease_us=60_000_000, limit=1))
    (grant,) = answer.grants
    run = Run(LANE, grant, 0, 0.0, cast("Any", None))
    run.header = read_header(grant.envelope)
    return run


class Finished:
    """What a mover returns."""

    def __init__(self, store: AsyncStore, **settings: Any) -> None:
        self.mover = OomMover(store, FleetContext(JobConfig(**settings)))

    async def after(self, run: Run) -> Any:
        run.ending.item = await self.mover.move(run, "roomy")
        return run.ending.item


async def test_the_same_job_stands_in_the_other_queue_before_the_old_one_is_closed(
    store: AsyncStore, run: Run, raw: redis.Redis
) -> None:
    item = await Finished(store).after(run)

    new = item.to
    assert item == settle.move("mail.0.a", run.token, to=new, ttl_ms=86_400_000)
    assert raw.zrange(ROOMY.ready[1], 0, -1) == [new.encode()]
    envelope = cast("bytes", raw.get(ROOMY.job(new)))
    assert read_header(envelope) == {"function": "f", "user": "ann", "enqueued_at": 5, "moved_from": "mail.0.a"}
    assert envelope.endswith(run.grant.envelope[-7:])
    assert raw.hgetall(ROOMY.meta) == {new.encode(): b"r 5000"}, "it has begun, so it expires no more"
    assert raw.zrange(ROOMY.index_of("user:ann"), 0, -1) == [new.encode()]
    assert (await store.run(settle.settle(LANE, [item]))).letters == "s"


async def test_a_job_that_moves_twice_since_its_worker_died_in_between_is_one_job(
    store: AsyncStore, run: Run, raw: redis.Redis
) -> None:
    first = await Finished(store).after(run)
    await store.run(settle.settle(LANE, [settle.release(run.id, run.token)]))

    again = await claimed(store, nonce=2)
    item = await Finished(store).after(again)

    assert item.to == first.to
    assert raw.zcard(ROOMY.ready[1]) == 1
    assert (await store.run(settle.settle(LANE, [item]))).letters == "s"


async def test_a_job_cancelled_on_its_way_is_cancelled_where_it_went_too(
    store: AsyncStore, run: Run, raw: redis.Redis
) -> None:
    finished = Finished(store)
    item = await finished.after(run)
    await store.run(control.cancel(KEYS, LANE, [run.id], by="ann", ttl_ms=60_000))

    letter = (await store.run(settle.settle(LANE, [item]))).letters
    finished.mover.settled(run, item, letter)
    await finished.mover.drained(10)

    assert letter == "c"
    assert raw.zcard(ROOMY.ready[1]) == 0
    assert str(raw.get(ROOMY.result(item.to))).startswith("b'cancelled ")


async def test_a_queue_that_takes_no_job_leaves_the_ending_as_it_was(store: AsyncStore, run: Run) -> None:
    finished = Finished(store, max_queues=1)
    await finished.after(run)

    assert await finished.mover.move(run, "another") is None


async def test_a_job_of_a_group_stands_in_its_group_there(store: AsyncStore, raw: redis.Redis) -> None:
    await store.run(
        enqueue(LANE, [Entry("mail.0.g", 1, "", "g acme", seal({"function": "f", "group": "acme"}, [], {}))])
    )
    run = await claimed(store, nonce=1)

    item = await Finished(store).after(run)
    assert (await store.run(settle.settle(LANE, [item]))).letters == "s"

    assert raw.hgetall(ROOMY.meta) == {item.to.encode(): b"g acme"}
    assert [faults(raw, lane) for lane in (LANE, ROOMY)] == [[], []]
    assert not raw.exists(LANE.held, LANE.meta)


def test_a_job_that_moves_gets_the_same_id_in_one_life_and_another_in_the_next() -> None:
    long = "x" * 64

    assert moved_id("a.0.b", 1) == moved_id("a.0.b", 1) != moved_id("a.0.b", 2)
    assert moved_id(f"a.0.{long}", 1) != moved_id(f"a.0.{long[:-1]}y", 1)
    assert len(moved_id(f"a.0.{long}", 1).rpartition("roomy.0.")[2]) <= 64


def moved_id(job_id: str, enqueued_at: int) -> str:
    """The id under which a job continues in another queue."""
    registry = Registry()
    registry.register(test_a_job_that_moves_gets_the_same_id_in_one_life_and_another_in_the_next, name="f")
    context = FleetContext(JobConfig(), registry)
    context.remember("roomy", (1, 1))
    envelope = seal({"function": "f", "enqueued_at": enqueued_at}, [], {})
    try:
        next(moved_entry(context, MovingJob(job_id, 1, "", "", envelope, has_started=True), "roomy"))
    except StopIteration as end:
        return cast("Entry", end.value).id
    raise AssertionError("it asks Redis although all is known")


async def test_a_job_keeps_its_unique_key_there(store: AsyncStore, raw: redis.Redis) -> None:
    await store.run(enqueue(LANE, [UNIQUE]))
    run = await claimed(store, nonce=1)

    item = await Finished(store).after(run)
    assert (await store.run(settle.settle(LANE, [item]))).letters == "s"

    assert raw.hgetall(ROOMY.meta) == {item.to.encode(): b"u report"}
    assert cast("bytes", raw.hget(ROOMY.unique, "report")).startswith(item.to.encode())
    assert not raw.exists(LANE.unique)
    assert [faults(raw, lane) for lane in (LANE, ROOMY)] == [[], []]


async def test_a_job_whose_unique_key_is_held_there_ends_as_it_would_have(store: AsyncStore, raw: redis.Redis) -> None:
    await store.run(enqueue(LANE, [UNIQUE]))
    await store.run(enqueue(ROOMY, [UNIQUE._replace(id="roomy.0.other")]))
    run = await claimed(store, nonce=1)

    item = await Finished(store).after(run)

    assert item is None
    assert raw.hkeys(ROOMY.meta) == [b"roomy.0.other"]


async def test_a_queue_that_is_new_is_journalled_before_the_job_is_there(store: AsyncStore, raw: redis.Redis) -> None:
    await store.run(journal.enlist(KEYS, "archive", most=100))
    await store.run(enqueue(LANE, [UNIQUE]))

    await Finished(store).after(await claimed(store, nonce=1))

    assert raw.xlen(ROOMY.journal) == 1
