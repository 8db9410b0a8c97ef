"""The journal: a group reads every event of every lane, whoever of its readers dies, and what it costs nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Job
from jobfleet.codec import read_header
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Command
from jobfleet.store.calls import inspect, lease, settle
from jobfleet.store.journal import Batch, Event, Journal, follow
from jobfleet.store.keys import Keyspace
from jobfleet.store.link.sync import AsyncLink
from jobfleet.store.target import target

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)


def reader(store: AsyncStore, consumer: str = "r.1", **options: Any) -> Journal:
    chosen = {"group": "archive", "most": 1000, "longest": 3600.0, "look_every": 0.0, **options}
    return Journal(store, KEYS, consumer=consumer, **chosen)


@pytest.fixture
async def journal(store: AsyncStore) -> Journal:
    journal = reader(store)
    await journal.register()
    return journal


def job(queue: str = "default", **options: Any) -> Job:
    return Job("add", "test.add", (1, 2), queue=queue, **options)


def told(batches: list[Batch]) -> list[tuple[str, str]]:
    return [(event.event, event.id) for batch in batches for event in batch.events]


async def finish(store: AsyncStore, nonce: int = 1) -> None:
    """Claim and complete what is due in the default queue."""
    claimed = await store.run(lease.claim(LANE, child="w.1", nonce=nonce, lease_us=30_000_000, limit=50))
    items = [
        settle.complete(grant.id, grant.token, record=b"record", ttl_ms=60_000, duration_us=7)
        for grant in claimed.grants
    ]
    await store.run(settle.settle(LANE, items))


async def test_the_numbers_of_the_last_events_are_counted_without_reading_them(
    fleet: AsyncFleet, store: AsyncStore, journal: Journal, raw: redis.Redis
) -> None:
    for queue in ("default", "mail"):
        await fleet.enqueue(job(queue))
        await journal.read()
    before = await journal.counts()
    for _ in range(3):
        await fleet.enqueue(job("mail"))

    after = await journal.counts()

    assert {lane.queue: number - before[lane] for lane, number in after.items()} == {"default": 0, "mail": 3}
    raw.set(LANE.totals, "spoiled")
    assert [lane.queue for lane in await journal.counts()] == ["mail"]
    assert len(told(await journal.read())) == 3


async def test_a_jobs_whole_life_is_read_in_order(fleet: AsyncFleet, store: AsyncStore, journal: Journal) -> None:
    job_id = await fleet.enqueue(job(user="ann"))
    await finish(store)

    batches = await journal.read()

    events: list[Event] = [event for batch in batches for event in batch.events]
    assert [(event.event, event.id) for event in events] == [
        ("enqueued", job_id), ("claimed", job_id), ("completed", job_id)
    ]  # fmt: skip
    assert [event.seq - events[0].seq for event in events] == [0, 1, 2]
    assert read_header(events[0].envelope)["user"] == "ann"
    assert (events[2].envelope, events[2].record, events[2].words) == (events[0].envelope, b"record", ("7",))
    assert events[1].token == events[2].token > events[0].token == 0


async def test_jobs_that_end_together_are_read_one_by_one(
    fleet: AsyncFleet, store: AsyncStore, journal: Journal
) -> None:
    ids = [await fleet.enqueue(job(user=f"u{number}")) for number in range(12)]
    await finish(store)

    events = [event for batch in await journal.read() for event in batch.events]
    enqueued, claimed, completed = events[:12], events[12:24], events[24:]

    assert [event.seq - events[0].seq for event in events] == list(range(36))
    assert [(event.event, event.id, event.words) for event in claimed] == [("claimed", one, ("w.1",)) for one in ids]
    assert [(event.event, event.id, event.words) for event in completed] == [("completed", one, ("7",)) for one in ids]
    assert [event.token for event in completed] == [claimed[0].token + number for number in range(12)]
    assert [event.token for event in claimed] == [event.token for event in completed]
    assert [event.envelope for event in completed] == [event.envelope for event in enqueued]
    assert {event.record for event in completed} == {b"record"}


async def test_a_queue_that_is_made_later_is_journalled_from_its_first_job_on(
    fleet: AsyncFleet, journal: Journal
) -> None:
    job_id = await fleet.enqueue(job("new"))  # nobody but the producer knows of the queue

    assert told(await journal.read()) == [("enqueued", job_id)]


async def test_whoever_opens_a_lane_registers_those_who_read(
    journal: Journal, store: AsyncStore, raw: redis.Redis
) -> None:
    lane = KEYS.lane("fresh", 0)

    await follow(store, KEYS, [lane])
    await follow(store, KEYS, [lane])

    assert raw.hget(lane.conf, "journal") == b"1000"
    await journal.unregister()
    await follow(store, KEYS, [KEYS.lane("other", 0)])
    assert not raw.exists(KEYS.lane("other", 0).conf)


async def test_a_job_from_before_the_registration_is_told_in_full_when_it_ends(
    fleet: AsyncFleet, store: AsyncStore
) -> None:
    await fleet.enqueue(job(user="ann"))
    journal = reader(store)
    await journal.register()
    await finish(store)

    (batch,) = await journal.read()

    assert [event.event for event in batch.events] == ["claimed", "completed"]
    assert read_header(batch.events[1].envelope)["user"] == "ann"


async def test_what_is_acknowledged_is_not_read_again_and_trimmed(
    fleet: AsyncFleet, journal: Journal, raw: redis.Redis, store: AsyncStore
) -> None:
    await fleet.enqueue(job())
    await journal.ack(await journal.read())
    await fleet.enqueue(job())

    (kept,) = [kept for lane, kept in await journal.trim() if lane == LANE]

    assert (kept.backlog, raw.xlen(LANE.journal)) == (1, 1)
    assert [event for event, _ in told(await journal.read())] == ["enqueued"]


async def test_what_a_dead_reader_had_read_is_read_by_another(
    fleet: AsyncFleet, journal: Journal, store: AsyncStore
) -> None:
    job_id = await fleet.enqueue(job())
    assert told(await journal.read()) == [("enqueued", job_id)]

    other = reader(store, "r.2", take_over_after=0.0)
    await other.register()

    assert told(await other.read()) == [("enqueued", job_id)]


async def test_a_reader_that_comes_back_reads_what_it_had_not_acknowledged(
    fleet: AsyncFleet, journal: Journal, store: AsyncStore
) -> None:
    job_id = await fleet.enqueue(job())
    assert told(await journal.read()) == [("enqueued", job_id)]

    again = reader(store)
    await again.register()

    assert told(await again.read()) == [("enqueued", job_id)]


async def test_two_readers_of_a_group_share_its_events_and_another_group_reads_them_all(
    fleet: AsyncFleet, journal: Journal, store: AsyncStore
) -> None:
    other = reader(store, "r.2")
    notify = reader(store, group="notify")
    await other.register()
    await notify.register()
    ids = [await fleet.enqueue(job()) for _ in range(4)]

    shares = [told(await who.read(2)) for who in (journal, other)]

    assert sorted(pair for share in shares for pair in share) == sorted(("enqueued", job_id) for job_id in ids)
    assert told(await notify.read()) == [("enqueued", job_id) for job_id in ids]


async def test_without_a_group_nothing_is_written(
    fleet: AsyncFleet, journal: Journal, raw: redis.Redis, store: AsyncStore
) -> None:
    await fleet.enqueue(job())
    await journal.unregister()

    await fleet.enqueue(job("other"))
    await fleet.enqueue(job())

    assert raw.keys("*journal*") == []
    assert raw.hgetall(KEYS.consumers) == {}
    counts = await store.run(inspect.counts(LANE))
    assert counts.totals["journal"] == counts.totals["journal_low"]


async def test_a_journal_that_redis_has_lost_is_registered_again(
    fleet: AsyncFleet, journal: Journal, raw: redis.Redis, redis_url: str
) -> None:
    await fleet.enqueue(job())
    raw.flushall()
    assert await journal.read() == []
    await journal.register()

    async with AsyncFleet(redis_url) as fresh:
        job_id = await fresh.enqueue(job())

    assert told(await journal.read()) == [("enqueued", job_id)]


async def test_reaching_the_bound_is_loud(
    fleet: AsyncFleet, store: AsyncStore, caplog: pytest.LogCaptureFixture
) -> None:
    journal = reader(store, most=100)
    await journal.register()
    for _ in range(60):
        await fleet.enqueue(job())
    await journal.read()
    await journal.trim()
    assert "journal.filling queue=default lane=0 events=60 most=100" in caplog.text
    for _ in range(50):
        await fleet.enqueue(job())

    ((_, kept),) = await journal.trim()

    assert (kept.backlog + kept.dropped, kept.backlog <= 100) == (110, True)
    assert f"journal.dropped queue=default lane=0 events={kept.dropped}" in caplog.text


class Cut:
    """Loses the next replies of a store's link."""

    def __init__(self, link: AsyncLink) -> None:
        self.lost = 0
        self._exchange = link.exchange
        link.exchange = self.exchange  # type: ignore[method-assign]

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        replies = await self._exchange(commands)
        if self.lost:
            self.lost -= 1
            return [ConnectionError("cut")] * len(replies)
        return replies


class Recorder:
    """Notes attempts."""

    def __init__(self) -> None:
        self.trips = 0
        self.stumbles: list[BaseException] = []

    def tripped(self, calls: Any, seconds: float) -> None:
        self.trips += 1

    def stumbled(self, error: BaseException) -> None:
        self.stumbles.append(error)


@pytest.fixture
async def cut(redis_url: str) -> AsyncIterator[tuple[AsyncStore, Cut]]:
    store = AsyncStore(target(redis_url), patience=0.0)
    yield store, Cut(store.link)
    await store.close()


async def test_what_was_read_and_did_not_arrive_is_read_again(fleet: AsyncFleet, cut: tuple[AsyncStore, Cut]) -> None:
    store, link = cut
    journal = reader(store, look_every=60.0)
    await fleet.enqueue(job())
    await journal.register()
    await journal.read()
    job_id = await fleet.enqueue(job())
    link.lost = 1

    with pytest.raises(Exception, match="cut"):
        await journal.read()

    assert told(await journal.read()) == [("enqueued", job_id)]


async def test_a_reader_tries_again_and_its_store_records_it(fleet: AsyncFleet, cut: tuple[AsyncStore, Cut]) -> None:
    store, link = cut
    journal = reader(store, look_every=60.0)
    await fleet.enqueue(job())
    await journal.register()
    await journal.read()
    ids = [await fleet.enqueue(job()) for _ in range(3)]
    store.patience, store.recorder, link.lost = 30.0, Recorder(), 2

    batches = await journal.read()

    assert told(batches) == [("enqueued", job_id) for job_id in ids]
    assert [str(error) for error in store.recorder.stumbles] == ["cut", "cut"]
    assert store.recorder.trips == 1
    link.lost = 1
    await journal.ack(batches)
    assert len(store.recorder.stumbles) == 3
    ((_, kept),) = await journal.trim()
    assert kept.backlog == 0


async def test_it_is_read_in_memory_too() -> None:
    async with AsyncFleet("memory://journal") as fleet:
        store = AsyncStore(target("memory://journal"))
        journal = reader(store)
        await journal.register()
        job_id = await fleet.enqueue(job())

        batches = await journal.read()

        assert told(batches) == [("enqueued", job_id)]
        await journal.ack(batches)
        ((_, kept),) = await journal.trim()
        assert kept.backlog == 0
        await store.close()


async def test_all_lanes_are_trimmed_in_one_trip(
    fleet: AsyncFleet, store: AsyncStore, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = [f"queue{number}" for number in range(5)]
    for queue in lanes:
        await fleet.enqueue(job(queue))
    await journal.ack(await journal.read())
    trips: list[int] = []
    exchange = store.link.exchange

    async def counted(commands: Sequence[Command]) -> list[Any]:
        trips.append(len(commands))
        return await exchange(commands)

    await journal.trim()
    monkeypatch.setattr(store.link, "exchange", counted)

    left = await journal.trim()

    assert ({lane.queue for lane, _ in left} >= {*lanes}, len(trips)) == (True, 1)
