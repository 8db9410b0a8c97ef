"""A result_ttl that is shorter than the time for which an id is remembered: the record goes, and the id stays known."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import redis

from jobfleet import Fleet, Job, JobContext, JobResult, JobStatus
from jobfleet.functions.registry import Registry
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

SECRET = "a secret of the customer"
BRIEF_MS = 60_000


@pytest.fixture
def function(registry: Registry) -> str:
    async def answer(secret: str) -> str:
        await asyncio.sleep(60 if secret == "wait" else 0)
        return secret

    return registry.register(answer, name="test.answer", result_ttl=60).name


def kept_for(raw: redis.Redis, text: str) -> list[int]:
    """For how many ms each key is kept that holds a text."""
    keys: list[bytes] = [key for key in raw.scan_iter("*") if raw.type(key) == b"string"]
    return [raw.pttl(key) for key in keys if text.encode() in cast(bytes, raw.get(key) or b"")]


def is_there(result: JobResult[Any]) -> tuple[JobStatus, object]:
    return result.status, result.result


@pytest.mark.parametrize("own", [False, True])
def test_the_value_is_kept_as_long_as_asked_and_the_id_for_its_window(
    fleet: Fleet, raw: redis.Redis, function: str, own: bool
) -> None:
    job = Job("answer", function, (SECRET,), id="mine" if own else None)
    job_id = fleet.enqueue(job)
    fleet.run_worker(burst=True)
    (listed,) = fleet.jobs(status=JobStatus.COMPLETED).jobs

    assert is_there(fleet.poll(job_id)) == (JobStatus.COMPLETED, SECRET)
    assert (listed.id, listed.function) == (job_id, function)
    (ttl,) = kept_for(raw, SECRET)
    assert 0 < ttl <= BRIEF_MS
    lane = fleet.context.keys.lane_of(job_id)
    assert raw.pttl(lane.result(job_id)) > BRIEF_MS

    raw.delete(lane.value(job_id))  # as Redis does when its time is over

    assert is_there(fleet.poll(job_id)) == (JobStatus.COMPLETED, None)
    assert [one.id for one in fleet.jobs(status=JobStatus.COMPLETED).jobs] == [job_id]
    assert not fleet.submit(job).created


def test_a_parents_value_is_read_while_it_is_kept(fleet: Fleet, registry: Registry, function: str) -> None:
    async def join(ctx: JobContext) -> object:
        return [parent.result for parent in ctx.parents.values()]

    registry.register(join, name="test.join")
    first = fleet.enqueue(Job("answer", function, (SECRET,)))
    last = fleet.enqueue(Job("join", "test.join", depends_on=[first]))
    fleet.run_worker(burst=True)

    assert fleet.poll(last).result == [SECRET]


def test_the_arguments_of_a_job_that_was_cancelled_while_it_waited_go_too(
    fleet: Fleet, raw: redis.Redis, function: str
) -> None:
    job_id = fleet.enqueue(Job("answer", function, (SECRET,), delay=60))

    fleet.cancel(job_id, by="ann")

    assert (fleet.poll(job_id).status, fleet.poll(job_id).function) == (JobStatus.CANCELLED, function)
    (ttl,) = kept_for(raw, SECRET)
    assert 0 < ttl <= BRIEF_MS


def test_the_arguments_of_a_job_that_was_cancelled_while_it_ran_go_too(
    fleet: Fleet, raw: redis.Redis, registry: Registry, working: Working
) -> None:
    begun = []

    async def linger(secret: str) -> None:
        begun.append(secret)
        await asyncio.sleep(60)

    registry.register(linger, name="test.linger", result_ttl=60)
    with working():
        job_id = fleet.enqueue(Job("linger", "test.linger", (SECRET,)))
        wait_until(lambda: begun, why="it runs")
        fleet.cancel(job_id, by="ann")
        assert fleet.wait(job_id, timeout=30).status is JobStatus.CANCELLED

    (ttl,) = kept_for(raw, SECRET)
    assert 0 < ttl <= BRIEF_MS


def test_results_that_are_not_kept_and_those_that_are_go_apart(fleet: Fleet, raw: redis.Redis, function: str) -> None:
    jobs = [Job("answer", function, (f"{SECRET} {ttl}",), result_ttl=ttl) for ttl in (0, 60, 86_400)]
    ids = [fleet.enqueue(job) for job in jobs]
    fleet.run_worker(burst=True)

    assert [fleet.poll(job_id).result for job_id in ids] == [None, f"{SECRET} 60", f"{SECRET} 86400"]
    assert [len(kept_for(raw, f"{SECRET} {ttl}")) for ttl in (0, 60, 86_400)] == [0, 1, 1]
