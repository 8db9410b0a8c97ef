"""Batches whose jobs are to stop, each for its own reason, or all."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import redis

from jobfleet import BatchItem, Fleet, JobFunction, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)
Registering = Callable[..., JobFunction[..., Any, Any]]


@pytest.fixture
def batched(fleet: Fleet, registry: Registry) -> Registering:
    """Registers a function whose jobs are gathered by three; what is cancelled has no time to see to it itself."""
    object.__setattr__(fleet.context.config, "cancel_grace", 0.0)
    object.__setattr__(fleet.context.config, "renew_every", 0.2)

    def register(function: Callable[..., Any], **options: Any) -> JobFunction[..., Any, Any]:
        return registry.register(
            function, **{"batch": 3, "batch_wait": 60, "name": "test.b", "fleet": fleet, **options}
        )

    return register


class Scene:
    """What a call and its test tell each other."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.ends: list[str] = []

    async def wait(self) -> None:
        """Wait on the loop until the test says so."""
        self.begun.set()
        try:
            while not self.go_on.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.ends.append("interrupted")
            raise
        self.ends.append("returned")

    def block(self) -> None:
        """The same in a thread."""
        self.begun.set()
        try:
            while not self.go_on.is_set():
                time.sleep(0.01)
        except BaseException:
            self.ends.append("interrupted")
            raise
        self.ends.append("returned")


def enqueue_all(function: JobFunction[..., Any, Any], values: Sequence[Any]) -> list[str]:
    return [function.enqueue(value).id for value in values]


def statuses(fleet: Fleet, ids: Sequence[str]) -> list[str]:
    return [fleet.wait(job_id, timeout=30).status.value for job_id in ids]


@pytest.mark.parametrize("where", ["async", "thread"])
def test_a_job_that_is_cancelled_leaves_its_batch_and_the_others_go_on(
    fleet: Fleet, batched: Registering, working: Working, where: str
) -> None:
    scene = Scene()

    async def arun(numbers: list[int]) -> list[int]:
        await scene.wait()
        return numbers

    def run(numbers: list[int]) -> list[int]:
        scene.block()
        return numbers

    function = batched(arun if where == "async" else run)
    with working():
        ids = enqueue_all(function, range(3))
        assert scene.begun.wait(30)
        assert fleet.cancel(ids[1], by="ann")
        cancelled = fleet.wait(ids[1], timeout=30)
        scene.go_on.set()
        others = [fleet.wait(job_id, timeout=30) for job_id in (ids[0], ids[2])]

    assert cancelled.status is JobStatus.CANCELLED
    assert [(job.status, job.result) for job in others] == [(JobStatus.COMPLETED, 0), (JobStatus.COMPLETED, 2)]
    assert scene.ends == ["returned"]


@pytest.mark.parametrize("where", ["async", "thread"])
def test_once_all_its_jobs_are_cancelled_the_call_is_interrupted(
    fleet: Fleet, batched: Registering, working: Working, where: str
) -> None:
    scene = Scene()

    async def arun(numbers: list[int]) -> None:
        await scene.wait()

    def run(numbers: list[int]) -> None:
        scene.block()

    with working():
        ids = enqueue_all(batched(arun if where == "async" else run), range(3))
        assert scene.begun.wait(30)
        for job_id in ids:
            assert fleet.cancel(job_id, by="ann")
        assert statuses(fleet, ids) == ["cancelled"] * 3
        wait_until(lambda: scene.ends == ["interrupted"], why="the call has ended")


def test_an_item_sees_that_it_is_cancelled_and_may_complete_all_the_same(
    fleet: Fleet, batched: Registering, working: Working
) -> None:
    object.__setattr__(fleet.context.config, "cancel_grace", 60.0)
    begun = threading.Event()

    async def run(items: list[BatchItem[int]]) -> list[int]:
        begun.set()
        while not items[1].context.cancelled:
            await asyncio.sleep(0.01)
        return [item.value for item in items]

    with working():
        ids = enqueue_all(batched(run), range(3))
        assert begun.wait(30)
        assert fleet.cancel(ids[1], by="ann")
        assert statuses(fleet, ids) == ["completed"] * 3


def test_a_cancellation_that_ends_the_call_gives_the_others_back_uncounted(
    fleet: Fleet, batched: Registering, working: Working, raw: redis.Redis
) -> None:
    object.__setattr__(fleet.context.config, "cancel_grace", 60.0)
    begun = threading.Event()
    calls: list[list[int]] = []

    async def run(items: list[BatchItem[int]]) -> None:
        calls.append([item.value for item in items])
        begun.set()
        while len(items) == 3:
            for item in items:
                item.context.progress(0.5)  # raises for the one that is cancelled
            await asyncio.sleep(0.01)

    function = batched(run, max_retries=0)
    with working() as stop:
        ids = enqueue_all(function, range(3))
        assert begun.wait(30)
        assert fleet.cancel(ids[1], by="ann")
        assert fleet.wait(ids[1], timeout=30).status is JobStatus.CANCELLED
        wait_until(lambda: fleet.statistics()["running"] == 2, why="the others are gathered again")
        stop.set()
        assert statuses(fleet, [ids[0], ids[2]]) == ["completed"] * 2

    assert (calls[0], sorted(calls[1])) == ([0, 1, 2], [0, 2])
    assert raw.hgetall(LANE.tries) == {}


@pytest.mark.parametrize("where", ["async", "thread"])
def test_a_timeout_bounds_the_call_and_is_each_jobs_with_its_own_retries(
    fleet: Fleet, batched: Registering, working: Working, where: str
) -> None:
    scene = Scene()

    async def arun(numbers: list[int]) -> None:
        await scene.wait()

    def run(numbers: list[int]) -> None:
        scene.block()

    function = batched(arun if where == "async" else run, timeout=0.3, retry_delay=3600)
    with working():
        ids = [function.enqueue(1).id, function.options(max_retries=0).enqueue(2).id, function.enqueue(3).id]
        failed = fleet.wait(ids[1], timeout=30)
        wait_until(
            lambda: [fleet.poll(ids[at]).status for at in (0, 2)] == [JobStatus.RETRYING] * 2, why="both are retried"
        )

    assert (failed.status, failed.error) == (JobStatus.FAILED, "timed out after 0.3 s")
    assert scene.ends == ["interrupted"]


def test_a_timeout_counts_from_the_beginning_of_the_call(fleet: Fleet, batched: Registering, working: Working) -> None:
    async def run(numbers: list[int]) -> list[int]:
        return numbers

    function = batched(run, timeout=1.5, batch_wait=1.8)
    with working():
        result = function.enqueue(1).wait(timeout=30)

    assert (result.status, result.result) == (JobStatus.COMPLETED, 1)
    assert result.started_at is not None
    assert result.enqueued_at is not None
    assert result.started_at - result.enqueued_at >= timedelta(seconds=1.8), "a run begins with its call"


def test_a_job_with_a_shorter_limit_of_its_own_is_let_go(fleet: Fleet, batched: Registering, working: Working) -> None:
    scene = Scene()

    async def run(numbers: list[int]) -> list[int]:
        await scene.wait()
        return numbers

    function = batched(run, batch=2)
    with working():
        short = function.options(timeout=0.1, max_retries=0).enqueue(1)
        long = function.enqueue(2)
        assert short.wait(timeout=30).error == "timed out after 0.1 s"
        scene.go_on.set()
        assert long.wait(timeout=30).result == 2


def test_a_job_that_another_run_owns_by_now_writes_nothing_and_the_others_do(
    fleet: Fleet, batched: Registering, working: Working, raw: redis.Redis
) -> None:
    scene = Scene()

    async def run(numbers: list[int]) -> list[int]:
        await scene.wait()
        return numbers

    with working():
        ids = enqueue_all(batched(run), range(3))
        assert scene.begun.wait(30)
        record: Any = raw.hget(LANE.runs, ids[1])
        raw.hset(LANE.runs, ids[1], record.replace(b"|", b"1|", 1))
        scene.go_on.set()
        assert statuses(fleet, [ids[0], ids[2]]) == ["completed"] * 2
        assert fleet.poll(ids[1]).status is JobStatus.RUNNING
        raw.zrem(LANE.lease, ids[1])
        raw.hdel(LANE.runs, ids[1])
