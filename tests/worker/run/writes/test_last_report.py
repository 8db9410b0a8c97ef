"""The progress of a job that has ended: its last report is stored, however short the job was, and completed is 1.0."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobContext, JobStatus, ProgressCallback
from jobfleet.functions.registry import Registry
from jobfleet.store.script import load
from tests.support.waiting import wait_until
from tests.worker.conftest import Working


async def on_loop(ctx: JobContext, turns: int) -> None:
    ctx.progress(0.5, "half", {"rows": 7})
    for _ in range(turns):
        await asyncio.sleep(0)


def in_thread(turns: int, progress_callback: ProgressCallback) -> None:
    progress_callback(0.5, "half", {"rows": 7})


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("function", [on_loop, in_thread])
def test_the_only_report_of_a_short_job_is_stored_on_a_server_that_does_not_know_its_script(
    fleet: Fleet, registry: Registry, raw: redis.Redis, function: Callable[..., Any], turns: int
) -> None:
    job = registry.register(function, name="test.report", fleet=fleet)
    registry.register(lambda: None, name="test.plain", fleet=fleet)
    raw.script_flush()
    fleet.enqueue(Job("plain", "test.plain"))
    fleet.run_worker(burst=True)  # the server knows how to settle, and not yet how to store progress

    result = fleet.poll(_run(fleet, job.job(turns)))

    assert (result.progress_message, result.progress_details) == ("half", {"rows": 7})


def test_lines_of_a_short_jobs_log_are_stored_there_too(fleet: Fleet, registry: Registry, raw: redis.Redis) -> None:
    async def note(ctx: JobContext) -> None:
        ctx.log.warning("noted")

    job = registry.register(note, name="test.note", fleet=fleet)
    registry.register(lambda: None, name="test.plain", fleet=fleet)
    raw.script_flush()
    fleet.enqueue(Job("plain", "test.plain"))
    fleet.run_worker(burst=True)

    assert [line.text for line in fleet.logs(_run(fleet, job.job()))] == ["noted"]


def test_what_a_short_job_has_written_survives_a_flush_of_scripts_after_which_others_can_settle(
    fleet: Fleet, registry: Registry, raw: redis.Redis
) -> None:
    async def speak(ctx: JobContext, *, flushes: bool) -> None:
        if flushes:
            raw.script_flush()
            raw.script_load(load("settle").source.decode())
        ctx.log.warning("noted")
        ctx.progress(0.5, "half")
        await ctx.emit("said")

    job = registry.register(speak, name="test.speak", fleet=fleet)
    _run(fleet, job.job(flushes=False))
    job_id = _run(fleet, job.job(flushes=True))

    assert [line.text for line in fleet.logs(job_id)] == ["noted"]
    assert fleet.poll(job_id).progress_message == "half"
    assert [chunk.value for chunk in fleet.stream(job_id)] == ["said"]


def _run(fleet: Fleet, job: Job) -> str:
    job_id = fleet.enqueue(job)
    fleet.run_worker(burst=True)
    return job_id


@pytest.mark.parametrize("function", [on_loop, in_thread])
def test_a_completed_job_is_at_its_end_everywhere(
    fleet: Fleet, registry: Registry, function: Callable[..., Any]
) -> None:
    job_id = _run(fleet, registry.register(function, name="test.report", fleet=fleet).job(0))
    waited = fleet.wait(job_id, timeout=5)
    (listed,) = fleet.jobs(status=JobStatus.COMPLETED).jobs

    assert [one.progress for one in (fleet.poll(job_id), waited, listed)] == [1.0, 1.0, 1.0]
    assert fleet.poll(job_id).progress_message == "half"


def test_a_job_that_failed_stays_where_it_was(fleet: Fleet, registry: Registry) -> None:
    async def fail(ctx: JobContext) -> None:
        ctx.progress(0.5, "half")
        raise ValueError("no")

    result = fleet.poll(_run(fleet, registry.register(fail, name="test.fail", fleet=fleet).job()))

    assert (result.status, result.progress, result.progress_message) == (JobStatus.FAILED, 0.5, "half")


@pytest.mark.parametrize("runs", [1, 2])
def test_a_cancelled_job_tells_its_attempt(fleet: Fleet, registry: Registry, working: Working, runs: int) -> None:
    begun: list[int] = []

    async def linger(ctx: JobContext) -> None:
        begun.append(ctx.attempt)
        if ctx.attempt < runs:
            raise OSError("once more")
        await asyncio.sleep(60)

    job = registry.register(linger, name="test.linger", fleet=fleet, retry_delay=0)
    with working():
        job_id = fleet.enqueue(job.job())
        wait_until(lambda: len(begun) == runs, timeout=20, why="its last run has begun")
        fleet.cancel(job_id, by="ann")
        result = fleet.wait(job_id, timeout=20)

    assert (result.status, result.attempt, result.retry_count) == (JobStatus.CANCELLED, runs, runs - 1)
    assert result.cancel_requested_by == "ann"


def test_a_job_that_is_cancelled_before_or_between_its_runs_tells_its_attempts(
    fleet: Fleet, registry: Registry
) -> None:
    async def fail() -> None:
        raise OSError("once more")

    job = registry.register(fail, name="test.fail", fleet=fleet, retry_delay=60)
    retrying = _run(fleet, job.job())
    waiting = fleet.enqueue(job.job())
    for job_id in (retrying, waiting):
        fleet.cancel(job_id, by="ann")

    assert [fleet.poll(job_id).attempt for job_id in (retrying, waiting)] == [1, 0]
    assert [fleet.poll(job_id).retry_count for job_id in (retrying, waiting)] == [1, 0]
    assert fleet.poll(retrying).cancel_requested_by == "ann"


def test_a_job_that_completes_after_a_crash_and_a_failure_has_used_one_retry(
    fleet: Fleet, registry: Registry, raw: redis.Redis
) -> None:
    job_id = fleet.enqueue(registry.register(lambda: 7, name="test.seven", fleet=fleet).job())
    raw.hset(fleet.context.keys.lane_of(job_id).tries, job_id, "1:1:0:0:0")
    fleet.run_worker(burst=True)

    result = fleet.poll(job_id)
    assert (result.status, result.attempt, result.retry_count) == (JobStatus.COMPLETED, 3, 1)


def test_a_result_that_is_not_kept_tells_an_attempt(fleet: Fleet, registry: Registry) -> None:
    async def one() -> int:
        return 1

    result = fleet.poll(_run(fleet, registry.register(one, name="test.one", fleet=fleet, result_ttl=0).job()))

    assert (result.status, result.attempt, result.progress) == (JobStatus.COMPLETED, 1, 1.0)
