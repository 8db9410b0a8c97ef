"""The archive duty: every job of a fleet stands in SQL in the end, whatever dies in between."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
from sqlalchemy import text

from jobfleet import AsyncFleet, Job, JobStatus
from jobfleet.archive import JobRepository
from jobfleet.archive import batch as pace
from jobfleet.codec import seal_record
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties import archive as duty
from jobfleet.services.duties.archive import Archive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import lease, settle
from jobfleet.store.keys import Keyspace
from tests.support.postgres import Postgres

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)
Make = Callable[..., Archive]


@pytest.fixture
async def make(store: AsyncStore, redis_url: str) -> AsyncIterator[Make]:
    """Makes duties, each as in a reaper of its own."""
    made: list[Archive] = []

    def one(url: str, **settings: Any) -> Archive:
        archive = Archive(store, KEYS, JobConfig(url=redis_url, archive_url=url, **settings), Tally())
        archive.journal._look_every = 0.0
        made.append(archive)
        return archive

    yield one
    for archive in made:
        await archive.stop()


def job(number: int, **options: Any) -> Job:
    return Job("add", "test.add", (number, 2), **options)


class Player:
    """Plays a worker: claims what is due, and ends each job as its number has it."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._nonce = 0
        self._chance = random.Random(5)

    async def turn(self, limit: int = 20) -> int:
        self._nonce += 1
        call = lease.claim(LANE, child="w.1", nonce=self._nonce, lease_us=30_000_000, limit=limit)
        grants = (await self._store.run(call)).grants
        items = [self._end(grant.id, grant.token, grant.tries) for grant in grants]
        if items:
            await self._store.run(settle.settle(LANE, items))
        return len(items)

    def _end(self, job_id: str, token: int, tries: str) -> settle.Item:
        record: dict[str, Any] = {"function": "test.add", "started_at": 1_764_000_000_000_000, "worker": "w.1"}
        ends = self._chance.random()
        spent = "1:0:0:0:0\n1 5 OSError: away"
        if ends < 0.2 and not tries:
            return settle.retry(job_id, token, delay_us=0, tries=spent)
        if ends < 0.3:
            sealed = seal_record({**record, "error": "no", "error_type": "permanent"})
            return settle.fail(job_id, token, record=sealed, ttl_ms=60_000, duration_us=9, reason="error", tries=spent)
        return settle.complete(job_id, token, record=seal_record({**record, "value": 1}), ttl_ms=60_000, duration_us=9)


async def caught_up(archive: Archive) -> None:
    """Turn until nothing is left to write."""
    while await archive.turn() < duty.IDLE:
        pass


async def test_a_fleets_jobs_stand_in_an_archive_that_was_empty(
    fleet: AsyncFleet, store: AsyncStore, make: Make, empty_url: str, raw: redis.Redis
) -> None:
    archive, player = make(empty_url), Player(store)
    await caught_up(archive)
    ids = [await fleet.enqueue(job(number, user="ann", tags=["eu"])) for number in range(100)]
    assert await fleet.cancel(ids[0])
    while await player.turn():
        await archive.turn()

    await caught_up(archive)

    with JobRepository(empty_url) as repository:
        for job_id in ids:
            kept, known = repository.get(job_id), await fleet.poll(job_id)
            assert kept is not None
            assert (kept.status, kept.result, kept.error, kept.user, kept.tags, kept.fence, kept.attempt) == (
                known.status, known.result, known.error, "ann", ("eu",), known.fence, known.attempt,
            ), job_id  # fmt: skip
            assert len(repository.attempts(job_id)) >= known.attempt
        counts = repository.statistics()
        assert counts["total"] == counts["completed"] + counts["failed"] + counts["cancelled"] == 100
    archive._trimmed = float("-inf")
    await archive.turn()
    assert raw.xlen(LANE.journal) == 0


@pytest.mark.parametrize("cause", ["fresh", "old", "many"])
async def test_only_fresh_events_of_a_journal_with_much_room_are_written_with_low_priority(
    fleet: AsyncFleet, make: Make, archive_url: str, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    archive = make(archive_url, journal_max=100)
    await caught_up(archive)
    threads: list[str] = []
    write = archive._writer.write

    def noting(events: Any) -> int:
        threads.append(threading.current_thread().name)
        return write(events)

    monkeypatch.setattr(archive._writer, "write", noting)
    monkeypatch.setattr(duty, "LATE", -60.0 if cause == "old" else 60.0)
    archive._trimmed = float("inf")  # the backlog stays as it was seen
    archive._backlog = 26 if cause == "many" else 25
    job_id = await fleet.enqueue(job(1))

    await caught_up(archive)

    assert [name.startswith("jobfleet-archive") for name in threads] == [cause == "fresh"]
    with JobRepository(archive_url) as repository:
        assert repository.get(job_id) is not None


@pytest.mark.parametrize("cause", ["burst", "backlog", "late", "many"])
async def test_events_wait_for_the_end_of_a_burst_but_neither_long_nor_many(
    fleet: AsyncFleet, make: Make, archive_url: str, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    archive = make(archive_url, journal_max=100)
    await caught_up(archive)
    ids = [await fleet.enqueue(job(0))]
    await caught_up(archive)
    archive._trimmed = float("-inf")
    await archive.turn()  # the state of the lane is known
    ids += [await fleet.enqueue(job(number)) for number in range(26 if cause == "many" else 25)]
    archive._trimmed = float("-inf")
    if cause == "backlog":
        monkeypatch.setattr(pace, "BUSY", 0)
        monkeypatch.setattr(pace, "BACKLOG", 26)  # with the job that was archived before
    else:
        monkeypatch.setattr(pace, "BURST", -1)  # whatever comes is a burst
    if cause == "late":
        archive._pace.has_read_all(float("-inf"))

    wait = await archive.turn()

    groups: Any = raw.xinfo_groups(LANE.journal)
    has_waited = cause in ("burst", "backlog")
    left = len(ids) - 1 - (0 if has_waited else duty.FEWEST)
    assert (groups[0]["lag"], groups[0]["pending"], raw.xlen(LANE.journal)) == (left, 0, left)
    assert wait == (duty.YIELD if has_waited else 0.0)
    monkeypatch.undo()
    await caught_up(archive)
    with JobRepository(archive_url) as repository:
        assert {row.id for row in repository.search(limit=100)} == set(ids)


async def test_fresh_events_are_written_in_short_batches_and_late_ones_in_long_batches(
    fleet: AsyncFleet, make: Make, archive_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make(archive_url)
    await caught_up(archive)
    sizes: list[int] = []
    write = archive._writer.write

    def noting(events: Any) -> int:
        sizes.append(len(events))
        return write(events)

    monkeypatch.setattr(archive._writer, "write", noting)
    monkeypatch.setattr(duty, "SHORT", 20)
    for late in (60.0, -60.0):
        monkeypatch.setattr(duty, "LATE", late)
        archive._count = duty.FEWEST
        for number in range(70):
            await fleet.enqueue(job(number))
        await caught_up(archive)

    assert sizes == [16, 20, 20, 14, 16, 32, 22]


async def test_any_number_of_reapers_that_die_in_between_write_each_job_once(
    fleet: AsyncFleet, store: AsyncStore, make: Make, archive_url: str
) -> None:
    player, chance = Player(store), random.Random(11)
    duties = [make(archive_url) for _ in range(3)]
    for each in duties:
        await each.turn()
        each.journal._take_over_ms, each.journal._take_over_every = 0, 0.0
    ids = [await fleet.enqueue(job(number)) for number in range(120)]
    while await player.turn(7):
        each = chance.choice(duties)
        if chance.random() < 0.4:  # dies between reading and writing, or between writing and acknowledging
            batches = await each.journal.read(3)
            if chance.random() < 0.5:
                each._writer.write([event for batch in batches for event in batch.events])
        else:
            each._held = []
            await each.turn()

    await asyncio.gather(*(caught_up(each) for each in duties))

    with JobRepository(archive_url) as repository:
        kept = repository.search(limit=1000)
        assert {row.id for row in kept} == set(ids)
        for row in kept:
            known = await fleet.poll(row.id)
            assert (row.status, row.result, row.fence) == (known.status, known.result, known.fence)
        with repository.engine.connect() as connection:
            runs = connection.execute(text("SELECT status, count(*) FROM jobfleet_attempts GROUP BY status"))
            told = {str(status): int(count) for status, count in runs}
        assert told["completed"] + told["failed"] == len(ids)
        assert "running" not in told


async def test_while_the_database_is_away_nothing_is_lost_and_it_goes_on_afterwards(
    fleet: AsyncFleet,
    store: AsyncStore,
    make: Make,
    postgres: Postgres,
    raw: redis.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "jobfleet.archive")
    url = postgres.database()
    archive, player = make(url), Player(store)
    await caught_up(archive)
    before = [await fleet.enqueue(job(number)) for number in range(10)]
    await caught_up(archive)

    postgres.stop()
    during = [await fleet.enqueue(job(number)) for number in range(30)]
    while await player.turn():
        pass
    assert await archive.turn() > 0
    assert await archive.turn() > 0
    assert "archive.away postgresql://***@" in caplog.text
    assert raw.xlen(LANE.journal) > 0
    counted = {row[0]: row[2] for row in archive.tally.take() if isinstance(row[2], int | float)}
    assert counted["archive_errors_total"] == 2
    postgres.start()

    await caught_up(archive)
    counted = {row[0]: row[2] for row in archive.tally.take() if isinstance(row[2], int | float)}
    assert counted["archive_events_total"] >= len(during)

    assert "archive.back after=" in caplog.text
    with JobRepository(url) as repository:
        assert {row.id for row in repository.search(limit=100)} == {*before, *during}
        assert repository.get_pending_jobs() == []


async def test_without_its_tables_nothing_is_taken_for_written(
    fleet: AsyncFleet, make: Make, archive_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    archive = make(archive_url)
    await caught_up(archive)
    job_id = await fleet.enqueue(job(1))
    with JobRepository(archive_url) as repository:
        with repository.engine.begin() as connection:
            connection.execute(text("ALTER TABLE jobfleet_jobs RENAME TO elsewhere"))
        assert await archive.turn() > 0
        assert await archive.turn() > 0
        assert caplog.text.count("archive.away") == 1, "one line per minute"
        with repository.engine.begin() as connection:
            connection.execute(text("ALTER TABLE elsewhere RENAME TO jobfleet_jobs"))

        await caught_up(archive)

        assert [row.id for row in repository.search()] == [job_id]


async def test_what_exceeds_the_bound_while_the_database_is_away_is_counted_and_said(
    fleet: AsyncFleet, make: Make, postgres: Postgres, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    archive = make(postgres.database(), journal_max=100)
    await caught_up(archive)
    postgres.stop()
    try:
        for number in range(150):
            await fleet.enqueue(job(number))
        archive._trimmed = float("-inf")
        await archive.turn()
    finally:
        postgres.start()

    dropped: Any = raw.hget(LANE.totals, "journal_dropped")
    assert int(dropped) > 0
    assert f"journal.dropped queue=default lane=0 events={int(dropped)}" in caplog.text


async def test_tables_of_another_revision_are_not_written(
    fleet: AsyncFleet, make: Make, archive_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with JobRepository(archive_url) as repository, repository.engine.begin() as connection:
        connection.execute(text("UPDATE jobfleet_alembic SET version_num = '9999'"))
    archive = make(archive_url)
    await fleet.enqueue(job(1))

    assert await archive.turn() == duty.LONGEST_PAUSE

    assert await archive.turn() == duty.LONGEST_PAUSE

    assert caplog.text.count("archive.unready its tables are at revision 9999") == 1, "one line per minute"


async def test_what_is_older_than_it_is_kept_goes(
    fleet: AsyncFleet, store: AsyncStore, make: Make, archive_url: str
) -> None:
    archive, player = make(archive_url, archive_ttl=0.0, archive_failed_ttl="30d"), Player(store)
    await archive.turn()
    for number in range(30):
        await fleet.enqueue(job(number))
    while await player.turn():
        pass
    await caught_up(archive)
    archive._pruned = float("-inf")

    await archive.turn()

    with JobRepository(archive_url) as repository:
        assert {row.status for row in repository.search(limit=100)} == {JobStatus.FAILED}
