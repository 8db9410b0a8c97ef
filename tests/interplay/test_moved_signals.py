"""A job that is moved to another queue loses neither the signals that it was sent nor its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobfleet import InvalidJob, Job, JobContext
from jobfleet.functions.registry import Registry
from jobfleet.operations.jobs.steer import move
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.testing.kit import in_place

TRIED: list[str] = []


async def approve(ctx: JobContext) -> object:
    return await ctx.wait_for("approved", "2d")


async def charge(ctx: JobContext) -> str:
    async def pay() -> str:
        return "paid"

    await ctx.step("pay", pay)
    if not TRIED:
        TRIED.append("once")
        raise ConnectionError("the shop is away")
    return "delivered"


@pytest.fixture
def jobs(server: RedisServer, registry: Registry) -> Iterator[Jobs]:
    TRIED.clear()
    registry.register(approve, name="t.approve", queue="q")
    registry.register(charge, name="t.charge", queue="q", max_retries=1, retry_delay=60)
    with in_place(server.url, registry) as jobs:
        yield jobs


def later(jobs: Jobs, name: str = "job") -> str:
    return jobs.fleet.enqueue(Job(name, "t.approve", queue="q", delay=60))


def test_an_early_signal_goes_with_the_job(jobs: Jobs) -> None:
    job_id = later(jobs)
    assert jobs.fleet.signal(job_id, "approved", "yes")

    moved = jobs.fleet.move(job_id, "q2")

    assert not jobs.fleet.signal(job_id, "approved", "too late")
    jobs.advance("1h")
    assert jobs.fleet.poll(moved).result == "yes"


def moved_with(jobs: Jobs, job_id: str, before: Callable[[str], object], *, until: str = "") -> str:
    """Move a job; do something before each of its scripts. The mover dies after the script `until`."""
    operation: Any = move(jobs.fleet.context, job_id, "q2", None)
    answers: list[Any] | None = None
    while True:
        try:
            calls = operation.send(answers)
        except StopIteration as end:
            return str(end.value)
        script = calls[0].script.name
        before(script)
        answers = jobs.fleet.store.run_many(calls)
        if script == until:
            return ""


@pytest.mark.parametrize("scripts", [{"enqueue", "enqueue_plain"}, {"cancel"}], ids=["enqueued", "closed"])
def test_a_signal_during_the_move_goes_with_the_job(jobs: Jobs, scripts: set[str]) -> None:
    job_id, sent = later(jobs), []

    def send(script: str) -> None:
        if script in scripts:
            sent.append(jobs.fleet.signal(job_id, "approved", "yes"))

    moved = moved_with(jobs, job_id, send)

    assert sent == [True]
    jobs.advance("1h")
    assert jobs.fleet.poll(moved).result == "yes"


def test_a_repeated_move_brings_the_signals_that_the_first_one_did_not(jobs: Jobs) -> None:
    job_id = later(jobs)
    jobs.fleet.signal(job_id, "approved", "yes")
    moved_with(jobs, job_id, lambda _: None, until="cancel")

    moved = jobs.fleet.move(job_id, "q2")

    jobs.advance("1h")
    assert jobs.fleet.poll(moved).result == "yes"


def test_a_job_with_steps_is_not_moved_and_does_not_stop_the_others(jobs: Jobs) -> None:
    with_steps = jobs.fleet.enqueue(Job("charge", "t.charge", queue="q"))
    jobs.drain()
    other = later(jobs, "other")
    with pytest.raises(InvalidJob, match="has stored steps; a move would lose its steps") as caught:
        jobs.fleet.move(with_steps, "q2")
    assert caught.value.field == "queue"

    assert jobs.fleet.move_many("q2", queue="q") == 1

    assert jobs.fleet.poll(other).moved_to is not None
    jobs.advance("1h")
    assert jobs.fleet.poll(with_steps).result == "delivered"
