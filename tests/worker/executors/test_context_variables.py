"""Context variables: what a job sets ends with the job, wherever it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobContext
from jobfleet.functions.registry import Registry
from tests.worker.conftest import Working

USER: ContextVar[str | None] = ContextVar("user", default=None)


def in_thread(name: str) -> str | None:
    before = USER.get()
    USER.set(name)
    return before


async def on_loop(name: str) -> str | None:
    return in_thread(name)


def batch_in_thread(names: list[str]) -> list[str | None]:
    before = USER.get()
    USER.set(names[-1])
    return [before] * len(names)


async def batch_on_loop(names: list[str]) -> list[str | None]:
    return batch_in_thread(names)


def seen(fleet: Fleet, jobs: list[Job]) -> list[Any]:
    """The results of jobs that run one after the other."""
    return [fleet.wait(fleet.enqueue(job), timeout=30).result for job in jobs]


@pytest.mark.parametrize("function", [in_thread, on_loop])
def test_a_variable_ends_with_the_job(
    fleet: Fleet, registry: Registry, working: Working, function: Callable[..., Any]
) -> None:
    job = registry.register(function, name="test.user", fleet=fleet)

    with working(slots=1):
        assert seen(fleet, [job.job(f"user-{number}") for number in range(4)]) == [None] * 4


@pytest.mark.parametrize("function", [batch_in_thread, batch_on_loop])
def test_a_variable_ends_with_the_batch(
    fleet: Fleet, registry: Registry, working: Working, function: Callable[..., Any]
) -> None:
    job = registry.register(function, name="test.user", fleet=fleet, batch=2, batch_wait=0)

    with working(slots=1):
        assert seen(fleet, [job.job(f"user-{number}") for number in range(4)]) == [None] * 4


@pytest.mark.parametrize("name", ["cell.variable", "cell.variable_async"])
def test_a_variable_ends_with_the_job_of_an_isolated_process(
    fleet: Fleet, working: Working, cells: None, name: str
) -> None:
    with working(slots=1):
        results = seen(fleet, [Job("user", name, (f"user-{number}",)) for number in range(4)])

    assert [variable for variable, _ in results] == [None] * 4
    assert len({process for _, process in results}) < 4  # at least one process has run two of them


@pytest.mark.parametrize("function", [batch_in_thread, batch_on_loop])
def test_a_batch_does_not_see_the_variables_of_one_jobs_middleware(
    fleet: Fleet, registry: Registry, working: Working, function: Callable[..., Any]
) -> None:
    job = registry.register(function, name="test.user", fleet=fleet, batch=2, batch_wait=0.05)

    @fleet.hooks.around
    async def mark(ctx: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        USER.set(ctx.job_id)
        return await call_next()

    with working(slots=2):
        assert seen(fleet, [job.job("user-1")]) == [None]


@pytest.mark.parametrize("function", [in_thread, on_loop])
def test_a_job_sees_the_variables_that_its_middleware_sets(
    fleet: Fleet, registry: Registry, working: Working, function: Callable[..., Any]
) -> None:
    job = registry.register(function, name="test.user", fleet=fleet)

    @fleet.hooks.around
    async def mark(ctx: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        assert USER.get() is None
        USER.set("middleware")
        return await call_next()

    with working(slots=1):
        assert seen(fleet, [job.job("user-1"), job.job("user-2")]) == ["middleware"] * 2
