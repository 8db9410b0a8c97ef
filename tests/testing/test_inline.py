"""The inline mode: jobs run before their enqueue returns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from jobfleet import Discard, Fleet, Job, JobContext, JobFailed, JobStatus, Snooze
from jobfleet.fleet import default
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.testing import Jobs

SEEN: list[Any] = []
REQUEST: ContextVar[str] = ContextVar("request", default="none")


class Odd(Exception):
    """An error of the user's."""


def send(to: str, lines: Any = (3,)) -> Any:
    SEEN.append(threading.current_thread())
    return lines


def refuse() -> None:
    raise Odd("no")


async def refuse_async() -> None:
    raise Odd("no")


def hand_on(ctx: JobContext, depth: int) -> int:
    ctx.progress(0.5)
    ctx.checkpoint_sync("depth", depth)
    SEEN.append(threading.current_thread())
    if depth:
        job = Job("next", "test.hand_on", (depth - 1,), queue=f"queue-{depth}")
        assert default.default_fleet().poll(default.enqueue(job)).status is JobStatus.COMPLETED
    return depth


async def hand_on_async(depth: int) -> list[int]:
    if not depth:
        return []
    function = REGISTRIES[-1].functions["test.hand_on_async"]
    below = await function.aenqueue(depth - 1)
    return [depth, *await below.result(timeout=30)]


def later() -> None:
    raise Snooze(60)


def never() -> None:
    raise Discard("not wanted")


def unsendable() -> object:
    return object()


REGISTRIES: list[Registry] = []


@pytest.fixture
def registry() -> Registry:
    SEEN.clear()
    registry = Registry()
    for function in (send, refuse, refuse_async, hand_on, hand_on_async, later, never, unsendable):
        registry.register(function, name=f"test.{function.__name__}", queue="mail")
    REGISTRIES.append(registry)
    return registry


@pytest.fixture
def jobs(redis_url: str, registry: Registry) -> Iterator[Jobs]:
    with Fleet(redis_url, registry=registry) as fleet, Jobs(fleet).in_place() as jobs:
        yield jobs


@pytest.fixture
def get(registry: Registry) -> Any:
    def got(name: str) -> JobFunction[..., Any, Any]:
        return registry.functions[f"test.{name}"]

    return got


def test_a_job_runs_in_this_thread_before_its_enqueue_returns(jobs: Jobs, get: Any) -> None:
    with jobs.inline():
        handle = get("send").enqueue("ann", lines=[(1, 2)])

    assert [threading.current_thread()] == SEEN
    assert handle.poll().status is JobStatus.COMPLETED
    assert handle.result(timeout=5) == [(1, 2)]
    jobs.assert_enqueued("test.send", "ann", lines=[(1, 2)])


def test_outside_the_block_jobs_wait_for_a_drain(jobs: Jobs, get: Any) -> None:
    with jobs.inline():
        pass

    handle = get("send").enqueue("ann")

    assert (SEEN, handle.poll().status) == ([], JobStatus.QUEUED)
    assert [job.id for job in jobs.drain()] == [handle.id]


@pytest.mark.parametrize("name", ["refuse", "refuse_async"])
def test_the_error_of_a_job_is_raised_where_it_is_enqueued(jobs: Jobs, get: Any, name: str) -> None:
    with jobs.inline(), pytest.raises(Odd, match="no") as caught:
        get(name).enqueue()

    assert name in {frame.name for frame in caught.traceback}


def test_an_error_can_be_left_to_the_result(jobs: Jobs, get: Any) -> None:
    with jobs.inline(raises=False):
        handle = get("refuse").options(max_retries=0).enqueue()

    assert (handle.poll().status, handle.poll().error_class) == (JobStatus.FAILED, "Odd")


def test_an_argument_or_a_result_that_cannot_travel_is_an_error(jobs: Jobs, get: Any) -> None:
    with jobs.inline():
        with pytest.raises(ValueError, match="object"):
            get("send").enqueue(object())
        with pytest.raises(JobFailed, match="unsendable returned"):
            get("unsendable").enqueue()


def test_jobs_run_the_jobs_that_they_enqueue_in_any_queue(jobs: Jobs, get: Any) -> None:
    with jobs.inline():
        assert get("hand_on").enqueue(3).poll().result == 3

    assert [threading.current_thread()] * 4 == SEEN
    assert [job.result for job in jobs.drain()] == [3, 2, 1, 0]


def test_awaited_enqueues_run_their_jobs_too(jobs: Jobs, get: Any) -> None:
    async def main() -> list[int]:
        with pytest.raises(Odd):
            await get("refuse").aenqueue()
        return list(await (await get("hand_on_async").aenqueue(3)).result(timeout=30))

    with jobs.inline():
        assert asyncio.run(main()) == [3, 2, 1]


def test_a_job_that_is_not_due_waits(jobs: Jobs, get: Any) -> None:
    with jobs.inline():
        delayed = get("send").options(delay=60).enqueue("ann")
        snoozed = get("later").enqueue()
        with pytest.raises(Discard, match="not wanted"):
            get("never").enqueue()

    assert [one.poll().status for one in (delayed, snoozed)] == [JobStatus.SCHEDULED] * 2
    assert SEEN == []


def test_a_unique_job_runs_once(jobs: Jobs, get: Any) -> None:
    unique = get("send").options(unique="mail-{to}", unique_for=60)

    with jobs.inline():
        first, second = unique.enqueue("ann"), unique.enqueue("ann")

    assert (first.id, len(SEEN)) == (second.id, 1)


def test_a_job_sees_no_context_variable_of_its_caller_but_its_threads_own(jobs: Jobs, registry: Registry) -> None:
    local = threading.local()
    local.connection = "open"
    registry.register(lambda: (REQUEST.get(), local.connection), name="test.look")
    REQUEST.set("caller")

    with jobs.inline():
        job_id = default.enqueue(Job("look", "test.look"))

    assert jobs.fleet.poll(job_id).result == ("none", "open")


def test_hooks_run(jobs: Jobs, registry: Registry, get: Any) -> None:
    seen: list[str] = []
    registry.hooks.before(lambda ctx: seen.append(ctx.job.name))

    with jobs.inline():
        get("send").enqueue("ann")

    assert seen == ["test.send"]


def test_declared_limits_do_not_apply_and_groups_are_made(jobs: Jobs, registry: Registry) -> None:
    def nested(customer: str, depth: int) -> int:
        return depth and 1 + made.enqueue(customer, depth - 1).result(timeout=30)

    made: JobFunction[[str, int], int, int, [str, int]] = registry.register(
        nested, name="test.nested", queue="mail", group="{customer}", concurrency=1, rate="1/d"
    )

    with jobs.inline():
        handle = made.enqueue("acme", 3)

    assert handle.poll().result == 3
    assert handle.poll().group == "acme"
    assert jobs.fleet.limits() == []
