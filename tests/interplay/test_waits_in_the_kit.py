"""Sleeping and waiting jobs under the test kit: deaths around a wait, lost replies, and inline jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jobfleet import Job, JobContext, JobStatus
from jobfleet.fleet import default
from jobfleet.functions.registry import Registry
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.testing.kit import in_place

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
RAN: list[str] = []


async def say(what: str) -> str:
    RAN.append(what)
    return what


async def order(ctx: JobContext, timeout: str = "2d") -> Any:
    await ctx.step("ask", say, "ask")
    value = await ctx.wait_for("approved", timeout)
    await ctx.sleep("3d")
    await ctx.step("ship", say, f"ship {value}")
    return value


def order_in_a_thread(ctx: JobContext) -> Any:
    value = ctx.wait_for_sync("approved", "2d")
    ctx.sleep_sync("3d")
    return value


@pytest.fixture
def jobs(server: RedisServer, registry: Registry, request: pytest.FixtureRequest) -> Iterator[Jobs]:
    RAN.clear()
    for function in (order, order_in_a_thread):
        registry.register(function, name=f"t.{function.__name__}", queue="q", max_retries=0)
    url = f"memory://{request.node.name}" if "memory" in request.fixturenames else server.url
    with in_place(url, registry) as jobs:
        yield jobs


@pytest.fixture
def memory() -> None:
    """Asks for a fleet in memory."""


@pytest.mark.usefixtures("memory")
def test_a_fleet_in_memory_wakes_sleepers_too(jobs: Jobs) -> None:
    job_id = jobs.fleet.enqueue(Job("x", "t.order"))
    assert jobs.fleet.signal(job_id, "approved", "yes")
    jobs.advance("73h")

    assert (jobs.fleet.poll(job_id).result, RAN) == ("yes", ["ask", "ship yes"])


def test_a_sleeping_job_continues_when_the_clock_moves(jobs: Jobs) -> None:
    job_id = jobs.fleet.enqueue(Job("x", "t.order"))
    jobs.drain()
    assert jobs.fleet.signal(job_id, "approved", "yes")
    jobs.drain()
    assert RAN == ["ask"]

    jobs.advance("2d")
    assert jobs.fleet.poll(job_id).status is JobStatus.SCHEDULED
    jobs.advance("1d")

    assert (jobs.fleet.poll(job_id).result, RAN) == ("yes", ["ask", "ship yes"])


def test_a_wait_times_out_when_the_clock_moves(jobs: Jobs) -> None:
    job_id = jobs.fleet.enqueue(Job("x", "t.order"))
    jobs.advance("3d")
    assert (jobs.fleet.poll(job_id).error_class, RAN) == ("SignalTimeout", ["ask"])


@pytest.mark.parametrize(
    ("point", "occurrence"),
    [("before-settle", 1), ("after-settle", 1), ("before-settle", 2), ("after-claim", 2)],
)
def test_a_worker_that_dies_around_a_wait_neither_loses_nor_repeats_it(jobs: Jobs, point: str, occurrence: int) -> None:
    job_id = jobs.fleet.enqueue(Job("x", "t.order"))
    jobs.kill_at(point, occurrence=occurrence)
    jobs.drain()
    jobs.advance("5m")  # the lease of a dead worker ends
    assert jobs.fleet.signal(job_id, "approved", "yes")
    jobs.advance("5m")
    assert jobs.kit.faults.passed.count(point) >= occurrence
    jobs.advance("73h")

    assert (jobs.fleet.poll(job_id).result, RAN) == ("yes", ["ask", "ship yes"])


def test_the_reply_to_the_settling_of_a_wait_is_lost(jobs: Jobs) -> None:
    job_id = jobs.fleet.enqueue(Job("x", "t.order"))
    jobs.lose_reply("settle")
    jobs.drain()
    assert jobs.fleet.poll(job_id).status is JobStatus.SCHEDULED
    assert jobs.fleet.signal(job_id, "approved", "yes")
    jobs.lose_reply("settle")
    jobs.advance("73h")

    assert (jobs.fleet.poll(job_id).result, RAN) == ("yes", ["ask", "ship yes"])


@pytest.mark.parametrize("function", ["t.order", "t.order_in_a_thread"])
def test_an_inline_job_returns_at_its_wait_and_continues_with_the_others(jobs: Jobs, function: str) -> None:
    with jobs.inline():
        job_id = default.enqueue(Job("x", function))
    assert jobs.fleet.poll(job_id).status is JobStatus.SCHEDULED
    assert jobs.fleet.signal(job_id, "approved", "yes")
    jobs.advance("73h")

    assert jobs.fleet.poll(job_id).result == "yes"
