"""The rate of a named limit holds for the calls of the function, whatever delays them after a run has passed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jobfleet import Fleet, Job, JobStatus
from jobfleet.functions.registry import Registry
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

RATE, PERIOD = 4, 5.0
"""A call must follow within 3/64 of the period, 234 ms. A busy machine must not delay what a call notes for longer."""


async def awaited(call: Awaitable[Any]) -> Any:
    return await call


def most_within_a_period(calls: list[tuple[float, int]]) -> int:
    return max(sum(count for at, count in calls if begin <= at < begin + PERIOD) for begin, _ in calls)


def test_a_batch_that_was_gathered_for_long_has_no_more_jobs_than_the_rate_allows(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    calls: list[tuple[float, int]] = []

    async def send(values: list[int]) -> None:
        calls.append((time.monotonic(), len(values)))

    registry.register(send, name="t.send", fleet=fleet, batch=50, batch_wait=3.0, limits=["few"])
    fleet.limits.named("few", rate=f"{RATE}/5s")
    ids = [fleet.enqueue(Job("one", "t.send", (n,))) for n in range(2 * RATE)]
    with working(slots=50):
        for job_id in ids:
            fleet.wait(job_id, timeout=60)

    assert most_within_a_period(calls) <= RATE
    assert sum(count for _, count in calls) == len(ids), "each ran once"


def test_runs_that_middleware_delays_start_no_faster_than_the_rate_allows(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    calls: list[tuple[float, int]] = []
    arrived: list[int] = []

    async def around(_: object, call_next: Callable[[], Awaitable[Any]]) -> Any:
        arrived.append(1)
        while len(arrived) < 2 * RATE:  # such as a wait for a connection of a pool
            await asyncio.sleep(0.01)
        return await call_next()

    async def send(_: int) -> None:
        calls.append((time.monotonic(), 1))

    registry.register(send, name="t.send", fleet=fleet, limits=["few"])
    registry.around_run.append(around)
    fleet.limits.named("few", rate=f"{RATE}/5s")
    ids = [fleet.enqueue(Job("one", "t.send", (n,))) for n in range(2 * RATE)]
    with working(slots=50):
        for job_id in ids:
            fleet.wait(job_id, timeout=60)

    assert most_within_a_period(calls) <= RATE
    assert len(calls) == len(ids)


def test_a_job_that_is_cancelled_before_its_batch_begins_gives_its_cost_back(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    async def send(values: list[int]) -> None:
        """It is never called."""

    def left() -> int | None:
        return fleet.limits.all_named()[0].left

    registry.register(send, name="t.send", fleet=fleet, batch=50, batch_wait=60.0, limits=["few"])
    fleet.limits.named("few", rate=f"{RATE}/1h")
    job_id = fleet.enqueue(Job("one", "t.send", (1,)))
    with working(slots=50):
        wait_until(lambda: left() == RATE - 1, timeout=30, why="it has passed")
        fleet.cancel(job_id)
        wait_until(lambda: left() == RATE, timeout=30, why="its cost is given back")


def test_middleware_that_calls_twice_pays_once(fleet: Fleet, registry: Registry, working: Working) -> None:
    calls: list[int] = []

    async def around(_: object, call_next: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call_next()
        except ValueError:
            return await call_next()

    async def send(n: int) -> None:
        calls.append(n)
        raise ValueError("always")

    registry.register(send, name="t.send", fleet=fleet, limits=["few"], max_retries=0)
    registry.around_run.append(around)
    fleet.limits.named("few", rate=f"{RATE}/1h")
    job_id = fleet.enqueue(Job("one", "t.send", (1,)))
    with working(slots=4):
        wait_until(lambda: fleet.poll(job_id).status is JobStatus.FAILED, timeout=60, why="it has failed")
        assert calls == [1, 1]
        assert fleet.limits.all_named()[0].left == RATE - 1


def test_middleware_with_a_task_group_ends_no_job_that_was_not_started(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    arrived: list[int] = []

    async def around(_: object, call_next: Callable[[], Awaitable[Any]]) -> Any:
        arrived.append(1)
        while len(arrived) < 2 * RATE:
            await asyncio.sleep(0.01)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(awaited(call_next()))
        return task.result()

    async def send(n: int) -> int:
        return n

    registry.register(send, name="t.send", fleet=fleet, limits=["few"], max_retries=0)
    registry.around_run.append(around)
    fleet.limits.named("few", rate=f"{RATE}/2s")
    ids = [fleet.enqueue(Job("one", "t.send", (n,))) for n in range(2 * RATE)]
    with working(slots=50):
        assert [fleet.wait(job_id, timeout=60).result for job_id in ids] == list(range(2 * RATE))
