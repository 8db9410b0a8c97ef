"""Row 11: a SQL database behind the fleet: every job and result, tables, transactions, queries, retention."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until


@pytest.fixture
def database(tmp_path: Path) -> str:
    from jobfleet.archive import init_job_tables

    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    assert init_job_tables(url) == init_job_tables(url)  # twice is once
    return url


def test_every_job_and_result_is_written_and_asked_for(
    database: str, redis_url: str, programs: Programs, tmp_path: Path
) -> None:
    from sqlalchemy import create_engine, text

    from jobfleet.archive import JobModel, JobRepository, JobResultModel

    programs.reaper(archive_url=database)
    programs.ready("seeds", archive_url=database)
    with Fleet(redis_url, archive_url=database) as fleet, JobRepository(database) as repository:
        added = fleet.enqueue(Job("Sum", "seed.add", (1, 2), user="ann", session="s-1", tags=["eu"]))
        retried = fleet.enqueue(Job("Moments", "seed.moments", (str(tmp_path / "f"), 1), retry_delay=0.05, user="bob"))
        failed = fleet.enqueue(Job("Raise", "seed.raise", ("ValueError",), user="ann"))
        waiting = fleet.enqueue(Job("Later", "seed.add", (1, 2), delay=3600, user="ann"))
        for job_id in (added, retried, failed):
            fleet.wait(job_id, timeout=LONG)
        has = _archived(repository, {added, retried, failed, waiting})
        wait_until(has, timeout=LONG, why="all jobs are archived as they stand")

        one = repository.get(added)
        assert one is not None
        assert (one.status, one.result, one.user, one.tags) == (JobStatus.COMPLETED, 3, "ann", ("eu",))
        assert [run.attempt for run in repository.attempts(retried)] == [1, 2]
        assert [job.id for job in repository.get_pending_jobs()] == [waiting]
        assert {job.id for job in repository.search(user="ann")} == {added, failed, waiting}
        assert [job.id for job in repository.search(session="s-1")] == [added]
        assert [job.id for job in repository.search(tag="eu")] == [added]
        assert [job.id for job in repository.search(status=JobStatus.FAILED)] == [failed]

        engine = create_engine(database)
        with engine.connect() as connection:
            for model, least in ((JobModel, 4), (JobResultModel, 3)):
                assert connection.scalar(text(f"SELECT count(*) FROM {model.__tablename__}")) >= least
        engine.dispose()

        assert repository.prune(timedelta(days=1)) == 0
        assert repository.prune(0, status={JobStatus.COMPLETED}) == 2
        assert repository.get(added) is None
        assert repository.get(failed) is not None


def _archived(repository: object, ids: set[str]) -> Callable[[], bool]:
    def has() -> bool:
        found = {job_id: repository.get(job_id) for job_id in ids}  # type: ignore[attr-defined]
        ended = [job for job in found.values() if job is not None and job.status.is_final]
        return None not in found.values() and len(ended) == 3

    return has
