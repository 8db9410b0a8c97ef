"""Samples of hours in the archive: written from the minutes in Redis, read by `fleet.history`."""

from __future__ import annotations

import logging
from typing import cast

import pytest
import redis
from sqlalchemy import text

from jobfleet import AsyncFleet, Fleet, init_job_tables
from jobfleet.archive.copies import read_hours
from jobfleet.archive.schema import open_engine
from jobfleet.config import JobConfig
from jobfleet.samples import COARSE, COMPLETED, FIRST_GAUGE, HOUR_S, TOTAL, WAIT, pack, pack_mark, queue_series
from jobfleet.services.duties.samples import BACK, HourArchive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace
from tests.support.state import server_now

KEYS = Keyspace("jobfleet")


def store_minutes(raw: redis.Redis, hour: int) -> None:
    """Store half an hour of minutes; in every second of them there is something in a queue."""
    for minute in range(hour * 60, hour * 60 + 30):
        part, step = COARSE.place(minute)
        mail = {COMPLETED: 2, FIRST_GAUGE: minute % 60, WAIT: {3: 1}} if minute % 2 else {}
        for name, value in (("", pack_mark(step, 0)), (queue_series("mail"), mail), (TOTAL, mail)):
            encoded = value if isinstance(value, bytes) else pack(step, 0, value)
            before = cast(bytes, raw.hget(KEYS.samples_of(part), name) or b"")
            raw.hset(KEYS.samples_of(part), name, before + encoded)


def after(hour: int) -> int:
    """A moment at which the hour is over and its minutes are written, µs."""
    return ((hour + 1) * HOUR_S + 150) * 1_000_000


async def test_an_hour_is_written_once_its_minutes_are_and_read_by_both_clients(
    store: AsyncStore, raw: redis.Redis, redis_url: str, archive_url: str
) -> None:
    hour = server_now(raw) // 1_000_000 // HOUR_S - 60
    store_minutes(raw, hour)
    hours = HourArchive(store, KEYS, JobConfig(url=redis_url, archive_url=archive_url))
    hours.last(hour - 1)

    await hours.archive((hour + 1) * HOUR_S * 1_000_000)  # its last minute may not be written yet
    assert hours.last(None) == hour - 1
    await hours.archive(after(hour))
    await hours.archive(after(hour))
    await hours.close()

    assert hours.last(None) == hour
    engine = open_engine(archive_url)
    point = {COMPLETED: 30, FIRST_GAUGE: 29, WAIT: {3: 15}}
    assert read_hours(engine, "jobfleet", queue_series("mail"), since=0) == {hour * HOUR_S: point}
    assert read_hours(engine, "jobfleet", queue_series("other"), since=0) == {hour * HOUR_S: {}}
    assert read_hours(engine, "other", TOTAL, since=0) == {}
    engine.dispose()
    with Fleet(redis_url, archive_url=archive_url) as fleet:
        found = fleet.history(since="3d", step="1h")
    assert {point.at.timestamp(): point.completed for point in found.points if point.completed is not None} == {
        hour * HOUR_S: 30
    }
    async with AsyncFleet(redis_url, archive_url=archive_url) as other:
        assert (await other.history(since="3d", step="1h")).total("completed") == 30


async def test_hours_wait_while_the_database_is_away(
    store: AsyncStore, raw: redis.Redis, redis_url: str, empty_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    hour = 500_000
    store_minutes(raw, hour)
    hours = HourArchive(store, KEYS, JobConfig(url=redis_url, archive_url=empty_url))
    hours.last(hour - 1)

    with caplog.at_level(logging.ERROR, "jobfleet.archive"):
        await hours.archive(after(hour))  # there are no tables
    assert hours.last(None) == hour - 1
    assert [record.message.split(" ")[0] for record in caplog.records] == ["samples.not_archived"]
    init_job_tables(empty_url)
    hours._failed_at = 0.0
    await hours.archive(after(hour))
    await hours.close()

    assert hours.last(None) == hour


async def test_old_hours_are_deleted_and_hours_that_are_no_longer_in_redis_are_passed_over(
    store: AsyncStore, raw: redis.Redis, redis_url: str, archive_url: str
) -> None:
    hour = 500_000
    engine = open_engine(archive_url)
    with engine.begin() as connection:
        row = {"at": hour - 100 * 24}
        connection.execute(text("INSERT INTO jobfleet_samples VALUES ('jobfleet', 't', :at, '')"), row)
    store_minutes(raw, hour - BACK)
    hours = HourArchive(store, KEYS, JobConfig(url=redis_url, archive_url=archive_url))
    hours.last(hour - 500)
    await hours.archive(after(hour))
    await hours.close()

    assert hours.last(None) == hour - BACK
    assert read_hours(engine, "jobfleet", TOTAL, since=0).keys() == {(hour - BACK) * HOUR_S}
    engine.dispose()
