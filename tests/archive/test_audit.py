"""The audit in the archive: copied from Redis, kept longer, and read behind what Redis has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import text

from jobfleet import AsyncFleet, StoreUnavailable
from jobfleet.archive import JobRepository
from jobfleet.archive.copies import AuditArchive
from jobfleet.codec import encode
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.model.audit import AuditFilter, Position
from jobfleet.operations.audit import Action, begin, end, outcome_of
from jobfleet.operations.operation import drive
from jobfleet.services.duties.archive import Archive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.journal import AuditRecord
from jobfleet.store.keys import Keyspace
from tests.support.postgres import Postgres

KEYS = Keyspace("jobfleet")
Make = Callable[..., Archive]


@pytest.fixture
async def make(store: AsyncStore, redis_url: str) -> AsyncIterator[Make]:
    """Makes duties, each as in a reaper of its own."""
    made: list[Archive] = []

    def one(url: str, **settings: Any) -> Archive:
        archive = Archive(store, KEYS, JobConfig(url=redis_url, archive_url=url, **settings), Tally())
        made.append(archive)
        return archive

    yield one
    for archive in made:
        await archive.stop()


async def copy(archive: Archive) -> None:
    """Let a duty copy what is there now."""
    archive._audit._look_at = float("-inf")
    await archive.turn()


async def test_what_redis_has_deleted_is_read_from_the_archive(
    redis_url: str, make: Make, archive_url: str, raw: redis.Redis
) -> None:
    archive = make(archive_url)
    async with AsyncFleet(redis_url, archive_url=archive_url) as fleet:
        for number in range(4):
            await fleet.pause(f"q{number}", by="ann", reason="a repair")
        whole = (await fleet.audit()).entries
        await copy(archive)

        raw.delete(KEYS.audit)
        assert (await fleet.audit()).entries == whole
        await fleet.resume("q3", by="bob")

        newest, *rest = (await fleet.audit()).entries
        assert ((newest.action, newest.by), rest) == (("queue.resume", "bob"), whole)
        found: list[Any] = []
        cursor, sizes = "", []
        while True:
            page = await fleet.audit(limit=2, cursor=cursor)
            found, cursor = [*found, *page.entries], page.cursor
            sizes.append(len(page.entries))
            if not cursor:
                break
        assert (found, sizes) == ([newest, *whole], [2, 2, 1])
        assert [one.by for one in (await fleet.audit(by="bob")).entries] == ["bob"]
        assert len((await fleet.audit(action="queue.pause", target="q1")).entries) == 1
        assert (await fleet.audit(target="Q1")).entries == []
        last = whole[-1].ended_at
        assert last is not None
        assert [one.target for one in (await fleet.audit(until=last + timedelta(milliseconds=1))).entries][-1:] == [
            "q0"
        ]
        assert (await fleet.audit(until=last)).entries == []
        assert (await fleet.audit(since=datetime.now(UTC) + timedelta(hours=1))).entries == []


async def test_the_end_of_an_action_replaces_its_beginning(
    redis_url: str, make: Make, archive_url: str, store: AsyncStore, raw: redis.Redis
) -> None:
    archive = make(archive_url)
    async with AsyncFleet(redis_url, archive_url=archive_url) as fleet:
        begun = await drive(store, begin(fleet.context, Action("queue.pause", "mail"), "ann"))
        assert begun is not None
        await copy(archive)
        (seen,) = (await fleet.audit()).entries
        assert (seen.id, seen.outcome) == (begun.id, "unknown")

        await drive(store, end(fleet.context, begun, outcome_of(True)))
        (seen,) = (await fleet.audit()).entries
        assert (seen.id, seen.outcome) == (begun.id, "done")
        await copy(archive)
        raw.delete(KEYS.audit)

        assert (await fleet.audit()).entries == [seen]


async def test_reapers_that_copy_the_same_and_start_again_write_each_action_once(
    redis_url: str, make: Make, archive_url: str, raw: redis.Redis
) -> None:
    first, second = make(archive_url), make(archive_url)
    async with AsyncFleet(redis_url, archive_url=archive_url) as fleet:
        for number in range(250):
            await fleet.pause(f"q{number % 5}", by=f"p{number}")
            if number % 100 == 0:
                await copy(first)
        await copy(second)
        await copy(first)
        await copy(make(archive_url))
        wanted = (await fleet.audit(limit=300)).entries
        raw.delete(KEYS.audit)

        assert (await fleet.audit(limit=300)).entries == wanted
        assert len(wanted) == 250


async def test_columns_for_those_who_ask_in_sql(redis_url: str, make: Make, archive_url: str) -> None:
    async with AsyncFleet(redis_url) as fleet:
        await fleet.limits.set("mail", concurrency=5, by="a\x00b")
    await copy(make(archive_url))

    with JobRepository(archive_url) as repository, repository.engine.connect() as connection:
        columns = "by_name, source, action, target, outcome, number, error"
        rows = connection.execute(text(f"SELECT {columns} FROM jobfleet_audit")).all()
    assert [tuple(row) for row in rows] == [("a\ufffdb", "python", "limit.set", "mail", "done", None, None)]


async def test_records_are_deleted_when_they_are_older_than_the_jobs_may_be(
    redis_url: str, make: Make, archive_url: str, repository: JobRepository
) -> None:
    old, new = AuditArchive(repository.engine, "jobfleet"), make(archive_url, archive_ttl="90d")
    head = '{"by":"ann","source":"cli","action":"queue.pause","target":"mail"}'
    body = encode({"before": {}, "after": {}})
    old.write([AuditRecord(Position(1000, 0), "old", head, body, body)])
    async with AsyncFleet(redis_url, archive_url=archive_url) as fleet:
        await fleet.pause("mail", by="bob")
        assert [one.by for one in (await fleet.audit()).entries] == ["bob", "ann"]

        new._pruned = float("-inf")
        await copy(new)

        assert [one.by for one in (await fleet.audit()).entries] == ["bob"]
    assert [one.id for one in old.page(AuditFilter(), below=None, limit=10)] != ["old"]


async def test_what_jobfleet_has_not_written_is_not_copied(
    redis_url: str, make: Make, archive_url: str, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    raw.xadd(KEYS.audit, {"id": "x", "head": "[]", "body": ""})
    async with AsyncFleet(redis_url, archive_url=archive_url) as fleet:
        await fleet.pause("mail", by="bob")
        await copy(make(archive_url))
        raw.delete(KEYS.audit)

        assert [one.by for one in (await fleet.audit()).entries] == ["bob"]
    assert "archive.refused audit id=x" in caplog.text


async def test_an_archive_that_does_not_answer_is_named(redis_url: str, postgres: Postgres) -> None:
    url = postgres.database()
    postgres.stop()
    try:
        async with AsyncFleet(redis_url, archive_url=url) as fleet:
            with pytest.raises(StoreUnavailable, match=r"The archive at postgresql://"):
                await fleet.audit()
    finally:
        postgres.start()
