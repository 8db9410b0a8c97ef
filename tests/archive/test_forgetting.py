"""`forget` with an archive: its rows go, whatever is read when, and what is left to do is said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
from sqlalchemy import text

from jobfleet import AsyncFleet, Fleet, Job, JobNotFound, JobResult, JobStatus, StoreUnavailable
from jobfleet.archive import JobRepository
from jobfleet.archive.writer import Writer
from jobfleet.codec import Limits
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties import archive as duty
from jobfleet.services.duties.archive import Archive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.journal import Event
from jobfleet.store.keys import Keyspace
from tests.archive.test_writer import AT, JOB, S, life, whole
from tests.support.postgres import Postgres

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
KEYS = Keyspace("jobfleet")
Make = Callable[..., Archive]


@pytest.fixture
def writer(repository: JobRepository) -> Writer:
    return Writer(repository.engine, "jobfleet", Limits())


def forgotten(seq: int, job_id: str = JOB) -> Event:
    return Event(seq, "forgotten", job_id, 0, AT + 60 * S, ("ann",))


def test_the_event_deletes_all_rows_of_the_job_and_no_others(writer: Writer, repository: JobRepository) -> None:
    other = f"{JOB}1"
    writer.write(life(other))
    alone = whole(repository)
    writer.write(life())

    writer.write([forgotten(6)])

    assert whole(repository) == alone
    writer.write([forgotten(6)])
    assert whole(repository) == alone


def test_it_deletes_what_the_same_batch_holds(writer: Writer, repository: JobRepository) -> None:
    writer.write([*life(), forgotten(6)])

    assert whole(repository) == {name: [] for name in whole(repository)}


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_a_job_that_was_enqueued_again_after_it_stays(
    writer: Writer, repository: JobRepository, is_one_batch: bool
) -> None:
    writer.write(life(first=7))
    again = whole(repository)
    repository.forget(JOB)
    events = [*life(), forgotten(6), *life(first=7)]

    for batch in [events] if is_one_batch else [[event] for event in events]:
        writer.write(batch)
    writer.write([forgotten(6)])

    assert whole(repository) == again


def test_the_repository_says_whether_there_was_anything(writer: Writer, repository: JobRepository) -> None:
    writer.write(life())

    assert [repository.forget(JOB), repository.forget(JOB)] == [True, False]
    assert whole(repository) == {name: [] for name in whole(repository)}


# Through a client


@pytest.fixture
async def archive(store: AsyncStore, redis_url: str, archive_url: str) -> AsyncIterator[Archive]:
    """A duty, as in a reaper."""
    archive = Archive(store, KEYS, JobConfig(url=redis_url, archive_url=archive_url), Tally())
    archive.journal._look_every = 0.0
    yield archive
    await archive.stop()


async def caught_up(archive: Archive) -> None:
    """Turn until nothing is left to write."""
    while await archive.turn() < duty.IDLE:
        pass


async def ended(fleet: AsyncFleet, archive: Archive, **options: Any) -> str:
    """A job that has ended, and whose events the archive has not read."""
    await caught_up(archive)
    job_id = await fleet.enqueue(Job("add", "test.add", (1, 2), user="ann", tags=["eu"], **options))
    assert await fleet.cancel(job_id)
    return job_id


async def test_what_the_archive_has_written_goes_at_once(
    redis_url: str, archive_url: str, archive: Archive, repository: JobRepository, fleet: AsyncFleet
) -> None:
    async with AsyncFleet(redis_url, archive_url=archive_url) as client:
        job_id = await ended(fleet, archive)
        await caught_up(archive)
        assert repository.get(job_id) is not None

        assert await client.forget(job_id, by="ann") is True

        assert whole(repository) == {name: [] for name in whole(repository)}
        await caught_up(archive)
        assert whole(repository) == {name: [] for name in whole(repository)}
        assert await client.forget(job_id) is False
        with pytest.raises(JobNotFound):
            await client.poll(job_id)


async def test_events_that_the_archive_reads_later_do_not_bring_it_back(
    redis_url: str, archive_url: str, archive: Archive, repository: JobRepository, fleet: AsyncFleet
) -> None:
    async with AsyncFleet(redis_url, archive_url=archive_url) as client:
        job_id = await ended(fleet, archive)

        assert await client.forget(job_id) is True
        await caught_up(archive)

    assert whole(repository) == {name: [] for name in whole(repository)}


async def test_a_client_without_the_archive_leaves_it_to_the_reaper(
    archive: Archive, repository: JobRepository, fleet: AsyncFleet
) -> None:
    job_id = await ended(fleet, archive)
    await caught_up(archive)

    assert await fleet.forget(job_id) is True
    await caught_up(archive)

    assert whole(repository) == {name: [] for name in whole(repository)}


def test_a_job_that_only_the_archive_has_goes_and_leaves_its_line(
    redis_url: str, archive_url: str, repository: JobRepository, raw: redis.Redis
) -> None:
    job = JobResult[Any](id=JOB, status=JobStatus.COMPLETED, function="f", name="f", queue="mail", tags=("eu",))
    repository.save(job)
    lane = KEYS.lane_of(JOB)
    raw.hset(lane.conf, "journal", "9")

    with Fleet(redis_url, archive_url=archive_url) as fleet:
        assert [fleet.forget(JOB, by="ann"), fleet.forget(JOB)] == [True, False]

    rows: Any = raw.xrange(lane.journal)
    assert [fields[b"1"] for _, fields in rows] == [f"forgotten {JOB} 0 ann".encode()]
    assert repository.get(JOB) is None


async def test_an_archive_that_is_away_is_named_and_the_same_call_finishes_later(
    redis_url: str, postgres: Postgres, store: AsyncStore
) -> None:
    url = postgres.database()
    with JobRepository(url) as repository:
        archive = Archive(store, KEYS, JobConfig(url=redis_url, archive_url=url), Tally())
        archive.journal._look_every = 0.0
        async with AsyncFleet(redis_url, archive_url=url) as client:
            job_id = await ended(client, archive)
            await caught_up(archive)
            postgres.stop()
            try:
                with pytest.raises(StoreUnavailable) as refusal:
                    await client.forget(job_id, by="ann")
            finally:
                postgres.start()

            assert str(refusal.value).startswith(f"{job_id} is erased in Redis, but not in the archive at postgresql:")
            assert "Forget it again when the archive answers." in str(refusal.value)
            assert (await client.poll(job_id)).status is JobStatus.CANCELLED
            assert await client.forget(job_id, by="ann") is True
            assert await client.forget(job_id) is False
        await archive.stop()
        with repository.engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM jobfleet_jobs")).scalar() == 0
