"""`jobfleet.maintenance.cleanup`: a job that every worker knows, by cron like any other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobfleet import Fleet, InvalidJob, Job, JobResult, JobStatus, configure
from jobfleet.archive import JobRepository
from jobfleet.fleet.default import set_default_fleet
from jobfleet.functions import default_fleet
from jobfleet.maintenance import cleanup
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.keys import Keyspace
from tests.support.seed import Seed

KEYS = Keyspace("jobfleet")
DAY_S = 86_400


@pytest.fixture
def fleet(redis_url: str, archive_url: str) -> Iterator[Fleet]:
    before = set_default_fleet(None)
    with configure(redis_url, archive_url=archive_url, archive_ttl="60d", archive_failed_ttl="365d") as fleet:
        fleet.store.run(open_queue(KEYS, "mail", 1))
        yield fleet
    set_default_fleet(before)


def fill(raw: redis.Redis, repository: JobRepository) -> None:
    """Dead letters of 50 and 10 days, and archived jobs of 90 and 10 days that completed, and that failed."""
    seed = Seed(raw, KEYS.lane("mail", 0))
    seed.dead("old", age=50 * DAY_S)
    seed.dead("young", age=10 * DAY_S)
    for status in (JobStatus.COMPLETED, JobStatus.FAILED):
        for age in (90, 10):
            ended = datetime.now(UTC) - timedelta(days=age)
            job = JobResult[Any](id=f"mail.0.{status}-{age}", status=status, queue="mail", completed_at=ended)
            repository.save(job)


@pytest.mark.parametrize(
    ("given", "gone", "left"),
    [
        ({}, {"dead_letters": 1, "archived": 1}, {"completed-10", "failed-90", "failed-10"}),
        ({"days": 30}, {"dead_letters": 1, "archived": 2}, {"completed-10", "failed-10"}),
        ({"days": 5}, {"dead_letters": 2, "archived": 4}, set()),
        ({"days": 5, "failed_days": 30}, {"dead_letters": 1, "archived": 3}, {"failed-10"}),
    ],
)
def test_what_is_older_goes_on_both_sides(
    fleet: Fleet,
    raw: redis.Redis,
    repository: JobRepository,
    given: dict[str, Any],
    gone: dict[str, int],
    left: set[str],
) -> None:
    fill(raw, repository)

    assert cleanup(**given) == gone

    assert {job.id.removeprefix("mail.0.") for job in repository.search()} == left
    assert cleanup(**given) == {"dead_letters": 0, "archived": 0}


@pytest.mark.filterwarnings("error")
def test_a_worker_runs_it_by_name_though_it_was_given_no_module(
    fleet: Fleet, raw: redis.Redis, repository: JobRepository
) -> None:
    fill(raw, repository)
    fleet.cron.add("cleanup", "@daily", Job("Cleanup", "jobfleet.maintenance.cleanup", kwargs={"days": 30}))
    job_id = fleet.cron.run("cleanup")

    fleet.run_worker(burst=True)

    assert fleet.poll(job_id).result == {"dead_letters": 1, "archived": 1}, "the settings keep for 60 and 365 days"


def test_a_worker_without_a_default_fleet_cleans_the_fleet_that_it_serves(
    fleet: Fleet, raw: redis.Redis, repository: JobRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(raw, repository)
    monkeypatch.setattr(default_fleet, "_provider", None)
    default_fleet.offer_settings(fleet.config)
    try:
        assert cleanup(days=30) == {"dead_letters": 1, "archived": 2}
    finally:
        monkeypatch.setattr(default_fleet, "_offered", None)


def test_it_is_enqueued_by_cron_like_any_other(fleet: Fleet) -> None:
    fleet.enqueue(Job(name="Cleanup", function="jobfleet.maintenance.cleanup", cron_expression="0 2 * * *"))

    (entry,) = fleet.cron()
    assert (entry.name, entry.function) == ("Cleanup", "jobfleet.maintenance.cleanup")


def test_a_bare_lambda_is_pointed_to_it(fleet: Fleet) -> None:
    with pytest.raises(InvalidJob, match=r"has a lambda; .* To clean up, there is 'jobfleet\.maintenance\.cleanup'\."):
        fleet.enqueue(Job(name="Cleanup", function=lambda: None, cron_expression="0 2 * * *"))
