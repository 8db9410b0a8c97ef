"""Who cancelled, paused or replayed something is shown as the name was given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from jobfleet import Cron, Fleet, Job, JobCancelled, JobContext, JobStatus
from jobfleet.functions.registry import Registry
from tests.support.waiting import wait_until

ANN = "Ann Müller"


async def wait_for_cancel(ctx: JobContext) -> None:
    while not ctx.cancelled:
        await asyncio.sleep(0.01)
    raise JobCancelled


def fail() -> None:
    raise ValueError("no")


@pytest.fixture
def fleet(redis_url: str) -> Iterator[Fleet]:
    """A fleet with a job that waits for its cancellation, and one that fails."""
    registry = Registry()
    registry.register(wait_for_cancel, name="app.wait")
    registry.register(fail, name="app.fail", max_retries=0)
    with Fleet(redis_url, registry=registry, patience=5) as fleet:
        yield fleet


def test_of_a_waiting_job(fleet: Fleet) -> None:
    job_id = fleet.enqueue(Job("n", "app.wait"))

    assert fleet.cancel(job_id, by=ANN)

    assert fleet.poll(job_id).cancel_requested_by == ANN
    assert fleet.poll(job_id).error == f"cancelled by {ANN}"


def test_of_a_running_job(fleet: Fleet) -> None:
    job_id = fleet.enqueue(Job("n", "app.wait"))
    stop = threading.Event()
    worker = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop})
    worker.start()
    try:
        wait_until(lambda: fleet.poll(job_id).status is JobStatus.RUNNING, timeout=20, why="it runs")
        assert fleet.cancel(job_id, by=ANN)
        result = fleet.wait(job_id, timeout=20)
    finally:
        stop.set()
        worker.join()

    assert (result.status, result.cancel_requested_by) == (JobStatus.CANCELLED, ANN)


def test_of_a_pause(fleet: Fleet) -> None:
    fleet.enqueue(Job("n", "app.wait", group="acme"))
    fleet.cron.add("nightly", Cron("0 2 * * *"), Job("n", "app.wait"))

    fleet.pause("default", by=ANN)
    fleet.pause("default", group="acme", by=ANN)
    fleet.pause("default", function="app.wait", by=ANN)
    fleet.cron.pause("nightly", by=ANN)

    (queue,) = fleet.queues()
    (limit,) = (one for one in fleet.limits() if one.group == "acme")
    assert (queue.paused, [one.by for one in queue.paused_functions], limit.paused) == (ANN, [ANN], ANN)
    assert [entry.paused for entry in fleet.cron()] == [ANN]
    assert ANN in str(fleet.explain(fleet.enqueue(Job("n", "app.wait"))))


def test_of_a_replay(fleet: Fleet) -> None:
    job_id = fleet.enqueue(Job("n", "app.fail"))
    fleet.run_worker(burst=True)
    fleet.replay(job_id, by=ANN)
    fleet.run_worker(burst=True)

    (line,) = (line for line in fleet.letter(job_id).history if line.startswith("replayed"))
    assert line.endswith("Ann%20Müller"), "the record itself; the command line shows the name"
