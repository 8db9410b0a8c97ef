"""A run that a named limit has refused has not started: it costs no token of its queue, and frees no unique key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobfleet import Job, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.testing.kit import in_place


async def note(name: str) -> str:
    return name


@pytest.fixture
def jobs(server: RedisServer, registry: Registry) -> Iterator[Jobs]:
    """A queue behind a named limit that is closed."""
    registry.register(note, name="t.note", queue="q", limits=["few"])
    with in_place(server.url, registry) as jobs:
        jobs.fleet.limits.named("few", concurrency=1)
        jobs.fleet.limits.close("few")
        yield jobs


@pytest.mark.parametrize("group", [None, "acme", "*"])
def test_a_refused_run_takes_nothing_from_the_rate_of_its_queue_or_group(jobs: Jobs, group: str | None) -> None:
    jobs.fleet.limits.set("q", group=group, rate="3/h")
    job_id = jobs.fleet.enqueue(Job("a", "t.note", ("a",), queue="q", group="acme" if group else None))
    for _ in range(3):
        jobs.drain()
    assert jobs.fleet.poll(job_id).status is JobStatus.QUEUED

    jobs.fleet.limits.open("few")
    jobs.drain()

    assert jobs.fleet.poll(job_id).status is JobStatus.COMPLETED


def test_a_refused_job_keeps_the_key_that_it_holds_while_it_is_queued(jobs: Jobs) -> None:
    ids = set()
    for _ in range(3):
        ids.add(jobs.fleet.enqueue(Job("sync", "t.note", ("a",), queue="q", unique="k", unique_for="queued")))
        jobs.drain()
    assert len(ids) == 1

    jobs.fleet.limits.open("few")
    jobs.drain()

    assert jobs.fleet.enqueue(Job("sync", "t.note", ("a",), queue="q", unique="k", unique_for="queued")) not in ids
