"""Real reapers archive what real workers run: every job and attempt stands in SQL, though a reaper is killed."""

from __future__ import annotations

import signal

from jobfleet import Fleet, Job
from jobfleet.archive import JobRepository
from tests.support.fleet import LONG, Programs
from tests.support.postgres import Postgres
from tests.support.waiting import wait_until


def test_a_killed_reaper_and_a_stopped_database_cost_no_job(
    programs: Programs, fleet: Fleet, postgres: Postgres
) -> None:
    url = postgres.database()
    first, _ = (programs.reaper(archive_url=url, beat=0.5, gone_after=2) for _ in range(2))
    programs.ready("workers.demo", processes=2)
    ids = [fleet.enqueue(Job("add", "demo.add", (number, 1))) for number in range(150)]
    first.send(signal.SIGKILL)
    postgres.stop()
    ids += [fleet.enqueue(Job("fail", "demo.fail", ("no",), max_retries=1, retry_delay=0)) for _ in range(50)]
    wait_until(lambda: all(fleet.poll(job_id).status.is_final for job_id in ids), timeout=LONG, why="all have ended")
    postgres.start()

    with JobRepository(url) as repository:
        wait_until(
            lambda: sum(job.status.is_final for job in repository.search(limit=1000)) == len(ids),
            timeout=LONG,
            why="the archive has all",
        )
        for job_id in ids:
            kept, known = repository.get(job_id), fleet.poll(job_id)
            assert kept is not None
            assert (kept.status, kept.result, kept.error, kept.fence, kept.attempt, kept.worker) == (
                known.status, known.result, known.error, known.fence, known.attempt, known.worker,
            )  # fmt: skip
            assert len(repository.attempts(job_id)) == known.attempt
