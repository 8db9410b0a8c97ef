"""What Redis has let go is polled from the archive."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Fleet, JobNotFound, JobResult, JobStatus, StoreUnavailable
from jobfleet.archive import JobRepository
from jobfleet.errors import ConfigError
from jobfleet.store.keys import Keyspace
from tests.support.postgres import Postgres

JOB = "mail.0.01a214189c5d7000800088feb3b7c1aa"


def keep(repository: JobRepository, status: JobStatus = JobStatus.COMPLETED) -> JobResult[Any]:
    job = JobResult[Any](id=JOB, status=status, result=(7, b"x"), function="mail.send", name="mail.send", queue="mail")
    repository.save(job)
    return job


async def test_both_clients_poll_the_archive_for_what_redis_does_not_know(
    redis_url: str, archive_url: str, repository: JobRepository
) -> None:
    kept = keep(repository)

    with Fleet(redis_url, archive_url=archive_url) as fleet:
        assert fleet.poll(JOB) == kept
        assert fleet.wait(JOB, timeout=1) == kept
        assert fleet.poll_many(["mail.0.none", JOB]) == [None, kept]
    async with AsyncFleet(redis_url, archive_url=archive_url) as there:
        assert await there.poll(JOB) == kept
        assert await there.poll_many([JOB, "mail.0.none"]) == [kept, None]


async def test_both_clients_search_the_archive(redis_url: str, archive_url: str, repository: JobRepository) -> None:
    kept = keep(repository)

    with Fleet(redis_url, archive_url=archive_url) as fleet:
        assert fleet.archived("SEND", queue="mail") == [kept]
        assert fleet.archived("no such text") == []
    async with AsyncFleet(redis_url, archive_url=archive_url) as there:
        assert await there.archived(function="mail.send", status=JobStatus.COMPLETED) == [kept]
    with Fleet(redis_url) as without, pytest.raises(ConfigError, match=r"There is no archive: set archive_url"):
        without.archived("x")


def test_what_redis_knows_counts_more(
    redis_url: str, archive_url: str, repository: JobRepository, raw: redis.Redis
) -> None:
    keep(repository)
    raw.set(Keyspace("jobfleet").lane_of(JOB).result(JOB), "cancelled 1764000000000000 0 0 - ann\n")

    with Fleet(redis_url, archive_url=archive_url) as fleet:
        assert fleet.poll(JOB).status is JobStatus.CANCELLED


@pytest.mark.parametrize("kept", [None, JobStatus.RUNNING])
def test_what_the_archive_does_not_know_either_or_only_as_open_is_not_found(
    redis_url: str, archive_url: str, repository: JobRepository, kept: JobStatus | None
) -> None:
    if kept is not None:
        keep(repository, kept)

    with Fleet(redis_url, archive_url=archive_url) as fleet, pytest.raises(JobNotFound):
        fleet.poll(JOB)


def test_an_archive_that_is_away_is_named_without_its_password(redis_url: str, postgres: Postgres) -> None:
    url = postgres.database().replace("jobfleet@", "jobfleet:secret@")
    postgres.stop()
    try:
        with (
            Fleet(redis_url, archive_url=url) as fleet,
            pytest.raises(StoreUnavailable, match=r"The archive at postgresql://jobfleet:\*\*\*@") as refusal,
        ):
            fleet.poll(JOB)
    finally:
        postgres.start()
    assert "secret" not in str(refusal.value)
