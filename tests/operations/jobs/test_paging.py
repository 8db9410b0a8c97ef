"""Listings, page by page: nothing is left out, nothing comes twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobStatus, Priority
from jobfleet.errors import ConfigError
from jobfleet.functions.registry import Registry
from jobfleet.model import STORED
from tests.client.either import Either
from tests.support.each import each

Work = Callable[[], Awaitable[None]]
COUNT = 130


@pytest.fixture
def wide(redis_url: str, registry: Registry) -> Iterator[Fleet]:
    """A client whose queue `mail` has four lanes."""
    with Fleet(redis_url, registry=registry, lanes="mail=4") as fleet:
        yield fleet


async def fill(wide: Fleet, count: int = COUNT, **options: Any) -> list[str]:
    jobs = (
        Job("Sum", "app.add", (n, n), queue="mail", id=f"n{n}", priority=Priority(n % 4), **options)
        for n in range(count)
    )
    return [receipt.id for receipt in await Either(wide).all("enqueue_many", jobs)]


async def pages(client: Either, **options: Any) -> tuple[list[str], list[int]]:
    """The ids on all pages, and the pages' lengths."""
    ids: list[str] = []
    lengths: list[int] = []
    cursor = ""
    while True:
        page = await client("jobs", cursor=cursor, **options)
        ids += [job.id for job in page.jobs]
        lengths.append(len(page.jobs))
        cursor = page.cursor
        if not cursor:
            return ids, lengths
        assert len(lengths) < 400, "pages never end"


@pytest.mark.parametrize("limit", [1, 7, 50, 100, 130, 1000])
async def test_waiting_jobs_of_all_lanes_are_listed_once(client: Either, wide: Fleet, limit: int) -> None:
    made = await fill(wide)

    ids, lengths = await pages(client, limit=limit)

    assert len({job_id.split(".")[1] for job_id in made}) == 4
    assert sorted(ids) == sorted(made)
    assert all(length == limit for length in lengths[:-1])


async def test_waiting_jobs_come_by_urgency(client: Either, wide: Fleet) -> None:
    await fill(wide)

    ids, _ = await pages(client, limit=30)

    bands = [3 - int(job_id.rpartition("n")[2]) % 4 for job_id in ids]
    assert bands == sorted(bands)


@pytest.mark.parametrize("limit", [1, 20, 130])
async def test_finished_jobs_are_listed_once(client: Either, wide: Fleet, work: Work, limit: int) -> None:
    made = await fill(wide)
    for job_id in made[:15]:
        await client("cancel", job_id)
    await Either(wide)("run_worker", queues=["mail"], burst=True)

    ids, lengths = await pages(client, limit=limit)
    completed, _ = await pages(client, limit=limit, status=JobStatus.COMPLETED)
    cancelled, _ = await pages(client, limit=limit, status=JobStatus.CANCELLED)

    assert sorted(ids) == sorted(made)
    assert max(lengths) <= limit  # however many ended in one batch
    assert sorted(completed) == sorted(made[15:])
    assert sorted(cancelled) == sorted(made[:15])


async def test_jobs_are_listed_by_status(client: Either, wide: Fleet) -> None:
    due = [await client("enqueue", Job("Sum", "app.add", (n, n))) for n in range(30)]
    later = [await client("enqueue", Job("Sum", "app.add", (n, n), delay=60 + n)) for n in range(30)]

    listed = {status: await pages(client, limit=8, status=status) for status in STORED}

    assert sorted(listed[JobStatus.QUEUED][0]) == sorted(due)
    assert listed[JobStatus.SCHEDULED][0] == later
    assert {status for status, (ids, _) in listed.items() if ids} == {JobStatus.QUEUED, JobStatus.SCHEDULED}


async def test_a_running_job_is_listed_as_such(redis_url: str, registry: Registry, client: Either) -> None:
    seen: list[Any] = []

    def look() -> None:
        with Fleet(redis_url) as own:
            seen.extend(own.jobs(status=JobStatus.RUNNING).jobs)
            seen.extend(own.jobs().jobs)

    registry.register(look, name="app.look")
    job_id = await client("enqueue", Job("Look", "app.look", user="ann"))
    with Fleet(redis_url, registry=registry) as fleet:
        await Either(fleet)("run_worker", burst=True)

    assert [(job.id, job.status, job.user, job.attempt) for job in seen] == [(job_id, JobStatus.RUNNING, "ann", 1)] * 2


async def test_jobs_of_one_queue_are_listed_alone(client: Either, wide: Fleet) -> None:
    await fill(wide, 5)
    other = await client("enqueue", Job("Steps", "app.steps", (1,)))

    assert (await pages(client, queue="bulk"))[0] == [other]
    assert len((await pages(client, queue="mail"))[0]) == 5


async def test_an_empty_fleet_has_one_empty_page(client: Either) -> None:
    page = await client("jobs")

    assert (page.jobs, page.cursor) == ([], "")


@each("cursor", ["x", "x~", "1.5~2"])
async def test_a_cursor_that_no_page_answered_is_refused(client: Either, cursor: str) -> None:
    await client("enqueue", Job("Sum", "app.add", (1, 2)))

    with pytest.raises(ConfigError, match="cursor is"):
        await client("jobs", cursor=cursor)


@each("cursor", ["0~x", "1~x", "-1~", "99~", "0~1-0+1", "0~(1-0", "13~5"])
async def test_a_cursor_that_was_tampered_with_is_refused(client: Either, cursor: str) -> None:
    await client("enqueue", Job("Sum", "app.add", (1, 2)))

    with pytest.raises(ConfigError, match="cursor is"):
        await client("jobs", cursor=cursor)
