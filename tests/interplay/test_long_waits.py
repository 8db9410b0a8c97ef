"""What waits for a job is still there when that job has waited for longer than Redis keeps ended jobs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from jobfleet import Job, JobContext, undo
from jobfleet.functions.registry import Registry
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.testing.kit import in_place

RAN: list[str] = []


async def book(what: str) -> str:
    RAN.append(what)
    return what


@undo
async def refund(what: str) -> None:
    RAN.append(f"undo {what}")


async def trip(ctx: JobContext, delay: str) -> None:
    await ctx.step("book", book, "flight", undo=refund)
    await ctx.sleep(delay)
    raise ValueError("the flight was cancelled")


async def nap(ctx: JobContext, name: str, delay: str) -> None:
    await ctx.sleep(delay)
    RAN.append(name)


@pytest.fixture
def jobs(server: RedisServer, registry: Registry) -> Iterator[Jobs]:
    RAN.clear()
    registry.register(trip, name="t.trip", queue="q", max_retries=0)
    registry.register(nap, name="t.nap", queue="q")
    registry.register(book, name="t.book", queue="q")
    with in_place(server.url, registry) as jobs:
        yield jobs


def pass_days(jobs: Jobs, days: int, *, at_once: bool) -> None:
    step = days if at_once else 7
    for _ in range(math.ceil(days / step)):
        jobs.advance(f"{step}d")


@pytest.mark.parametrize("at_once", [False, True], ids=["by weeks", "at once"])
@pytest.mark.parametrize("days", [20, 120])
def test_the_steps_of_a_job_are_undone_after_a_long_sleep(jobs: Jobs, days: int, at_once: bool) -> None:
    jobs.fleet.enqueue(Job("trip", "t.trip", (f"{days}d",)))
    jobs.drain()

    pass_days(jobs, days + 1, at_once=at_once)

    assert RAN == ["flight", "undo flight"]


@pytest.mark.parametrize("at_once", [False, True], ids=["by weeks", "at once"])
@pytest.mark.parametrize("parent", ["sleeps", "is scheduled"])
def test_a_dependant_runs_after_a_parent_that_waits_for_long(jobs: Jobs, parent: str, at_once: bool) -> None:
    if parent == "sleeps":
        first = jobs.fleet.enqueue(Job("parent", "t.nap", ("parent", "45d")))
    else:
        first = jobs.fleet.enqueue(Job("parent", "t.book", ("parent",), delay=45 * 86_400))
    jobs.fleet.enqueue(Job("child", "t.book", ("child",), depends_on=[first]))
    jobs.drain()

    pass_days(jobs, 46, at_once=at_once)

    assert RAN == ["parent", "child"]


@pytest.mark.parametrize("at_once", [False, True], ids=["by weeks", "at once"])
def test_a_job_of_a_sequence_waits_for_its_parent_too(jobs: Jobs, at_once: bool) -> None:
    parent = jobs.fleet.enqueue(Job("parent", "t.nap", ("parent", "40d")))
    jobs.fleet.enqueue(Job("head", "t.nap", ("head", "35d"), group="acme", order="strict"))
    jobs.fleet.enqueue(Job("child", "t.book", ("child",), group="acme", order="strict", depends_on=[parent]))
    jobs.drain()

    pass_days(jobs, 41, at_once=at_once)

    assert RAN == ["head", "parent", "child"]
