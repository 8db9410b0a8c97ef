"""What a job keeps for a long wait is there until the wait ends, and not for longer than the job needs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from jobfleet import Job, JobContext
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Lane
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.testing.kit import in_place

APPROVED: set[str] = set()
DAY_MS = 86_400_000


async def approve(ctx: JobContext, ends_by: str) -> None:
    if not APPROVED:  # the application has a record of its own: the second run neither writes nor asks for the signal
        ctx.log.info("asks")
        await ctx.emit("asks")
        await ctx.wait_for("approved")
    if ends_by == "failure":
        raise ValueError("no")


async def talk(ctx: JobContext) -> object:
    for n in range(10):
        await ctx.emit(n)
    ctx.log.info("has talked")
    await ctx.wait_for("approved", "200d")
    return [parent.result for parent in ctx.parents.values()]


async def note() -> str:
    return "noted"


@pytest.fixture
def jobs(server: RedisServer, registry: Registry) -> Iterator[Jobs]:
    APPROVED.clear()
    registry.register(approve, name="t.approve", queue="q", max_retries=0)
    registry.register(talk, name="t.talk", queue="q")
    registry.register(note, name="t.note", queue="q")
    with in_place(server.url, registry) as jobs:
        yield jobs


def kept(lane: Lane, job_id: str) -> list[str]:
    return [lane.steps(job_id), lane.log(job_id), lane.chunks(job_id), lane.parents(job_id)]


@pytest.mark.parametrize("ends_by", ["success", "failure", "cancellation"])
def test_nothing_of_an_ended_job_lives_as_long_as_the_wait(jobs: Jobs, server: RedisServer, ends_by: str) -> None:
    first = jobs.fleet.enqueue(Job("first", "t.note"))
    job_id = jobs.fleet.enqueue(Job("job", "t.approve", (ends_by,), depends_on=[first]))
    jobs.drain()
    raw = redis.Redis.from_url(server.url)
    keys = kept(jobs.fleet.context.keys.lane_of(job_id), job_id)
    assert [raw.pttl(key) > 3000 * DAY_MS for key in keys] == [True] * 4

    APPROVED.add("yes")
    if ends_by == "cancellation":
        assert jobs.fleet.cancel(job_id)
    else:
        assert jobs.fleet.signal(job_id, "approved", True)
    jobs.drain()

    assert jobs.fleet.poll(job_id).status.is_final
    assert [0 < raw.pttl(key) <= 40 * DAY_MS for key in keys] == [True] * 4


def test_output_log_and_parents_are_there_after_a_long_wait(jobs: Jobs) -> None:
    first = jobs.fleet.enqueue(Job("first", "t.note"))
    job_id = jobs.fleet.enqueue(Job("job", "t.talk", depends_on=[first]))
    jobs.drain()
    stored = list(jobs.fleet.stream(job_id, follow=False))
    assert [chunk.value for chunk in stored] == list(range(10))

    jobs.advance("100d")

    rest = list(jobs.fleet.stream(job_id, stored[4].position, follow=False))
    assert [chunk.value for chunk in rest] == [5, 6, 7, 8, 9]
    assert [line.text for line in jobs.fleet.logs(job_id)] == ["has talked"]
    assert jobs.fleet.signal(job_id, "approved", 1)
    jobs.drain()
    assert jobs.fleet.poll(job_id).result == ["noted"]
