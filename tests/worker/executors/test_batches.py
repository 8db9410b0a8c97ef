"""Batches: one call runs many jobs, and each has its own ending."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import pytest

from jobfleet import BatchItem, Fleet, Job, JobContext, JobFunction, JobResult, JobStatus, Resource
from jobfleet.functions.registry import Registry
from jobfleet.outcome import Outcome
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

OPENED: list[str] = []
Registering = Callable[..., JobFunction[..., Any, Any]]


@contextmanager
def open_pool() -> Iterator[str]:
    """What a batch function asks for."""
    OPENED.append("pool")
    yield "pool"


@pytest.fixture
def batched(fleet: Fleet, registry: Registry) -> Registering:
    """Registers a function whose jobs are gathered by five, unless told otherwise."""

    def register(function: Callable[..., Any], **options: Any) -> JobFunction[..., Any, Any]:
        given = {"batch": 5, "batch_wait": 0.05, "name": "test.batch", "fleet": fleet, **options}
        return registry.register(function, **given)

    return register


def enqueue_all(fleet: Fleet, function: JobFunction[..., Any, Any], values: Sequence[Any]) -> list[str]:
    return [receipt.id for receipt in fleet.enqueue_many(function.job(value) for value in values)]


def ended(fleet: Fleet, ids: Sequence[str]) -> list[JobResult[Any]]:
    return [job for job in fleet.poll_many(ids) if job is not None]


def outcomes(fleet: Fleet, ids: Sequence[str]) -> list[tuple[str, Any]]:
    return [(job.status.value, job.result if job.error is None else job.error) for job in ended(fleet, ids)]


def test_one_call_runs_many_jobs_and_its_results_are_theirs_in_order(fleet: Fleet, batched: Registering) -> None:
    calls: list[list[int]] = []

    async def double(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        return [2 * number for number in numbers]

    ids = enqueue_all(fleet, batched(double, batch_wait=1), range(12))
    fleet.run_worker(burst=True)

    assert [job.result for job in ended(fleet, ids)] == [2 * number for number in range(12)]
    assert calls == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]


def test_a_def_is_given_its_batch_in_a_thread(fleet: Fleet, batched: Registering) -> None:
    def double(numbers: list[int]) -> list[int]:
        assert threading.current_thread().name.startswith("jobfleet-job")
        return [2 * number for number in numbers]

    ids = enqueue_all(fleet, batched(double), range(7))
    fleet.run_worker(burst=True)

    assert [job.result for job in ended(fleet, ids)] == [2 * number for number in range(7)]


def test_jobs_of_different_claims_are_gathered(fleet: Fleet, batched: Registering, working: Working) -> None:
    calls: list[list[int]] = []

    async def note(numbers: list[int]) -> None:
        calls.append(numbers)

    function = batched(note, batch_wait=60)
    with working():
        handles = [function.enqueue(0)]
        for number in range(1, 5):
            wait_until(lambda: fleet.statistics()["running"] == len(handles), why="the last one was claimed")
            handles.append(function.enqueue(number))
        assert [handle.result(timeout=30) for handle in handles] == [None] * 5

    assert calls == [[0, 1, 2, 3, 4]]


def test_a_batch_that_does_not_fill_is_begun_when_its_time_has_come(
    fleet: Fleet, batched: Registering, working: Working
) -> None:
    async def count(numbers: list[int]) -> list[int]:
        return [len(numbers)] * len(numbers)

    function = batched(count)
    with working():
        assert function.enqueue(1).result(timeout=30) == 1


@pytest.mark.parametrize("where", ["async", "thread"])
def test_each_job_of_a_batch_has_its_own_outcome(fleet: Fleet, batched: Registering, where: str) -> None:
    def end(item: BatchItem[str]) -> object:
        match item.value:
            case "complete":
                item.complete("said")
            case "fail":
                item.fail(ValueError("no"))
            case "retry":
                if item.context.attempt == 1:
                    item.retry(0, reason="busy")
            case "raised":
                return KeyError("k")
            case "unencodable":
                return object()
        return item.value

    def run(items: list[BatchItem[str]]) -> list[object]:
        return [end(item) for item in items]

    async def arun(items: list[BatchItem[str]]) -> list[object]:
        return run(items)

    function = batched(arun if where == "async" else run, batch=10)
    ids = enqueue_all(fleet, function, ["plain", "complete", "fail", "retry", "raised", "unencodable"])
    fleet.run_worker(burst=True)
    while not fleet.poll(ids[3]).status.is_final:
        fleet.run_worker(burst=True)

    plain, complete, fail, retry, raised, unencodable = ended(fleet, ids)
    assert (plain.status, plain.result) == (JobStatus.COMPLETED, "plain")
    assert (complete.status, complete.result) == (JobStatus.COMPLETED, "said")
    assert (fail.status, fail.error_class, fail.error) == (JobStatus.FAILED, "ValueError", "no")
    assert (retry.status, retry.result, retry.retry_count) == (JobStatus.COMPLETED, "retry", 1)
    assert (raised.status, raised.error_class) == (JobStatus.FAILED, "KeyError")
    assert (unencodable.status, unencodable.error_class) == (JobStatus.FAILED, "EncodingError")


def test_an_error_of_the_whole_call_is_each_jobs_with_its_own_retries(fleet: Fleet, batched: Registering) -> None:
    async def run(items: list[BatchItem[str]]) -> None:
        items[0].complete("done before")
        raise ConnectionError("away")

    function = batched(run, retry_delay=3600)
    ids = [function.enqueue("first").id, function.options(max_retries=0).enqueue("second").id]
    ids.append(function.enqueue("third").id)
    fleet.run_worker(burst=True)

    first, second, third = ended(fleet, ids)
    assert (first.status, first.result) == (JobStatus.COMPLETED, "done before")
    assert (second.status, second.error_class) == (JobStatus.FAILED, "ConnectionError")
    assert "run" in (second.traceback or "")
    assert (third.status, third.retry_count) == (JobStatus.RETRYING, 1)


@pytest.mark.parametrize(
    ("value", "words"),
    [([1], "1 results for 2 jobs"), ("ab", "str for 2 jobs"), ({1: 2}, "dict for 2 jobs"), (0, "int for 2 jobs")],
)
def test_a_value_that_is_no_list_of_theirs_fails_the_jobs(
    fleet: Fleet, batched: Registering, value: object, words: str
) -> None:
    async def run(numbers: list[int]) -> Any:
        return value

    ids = enqueue_all(fleet, batched(run), [1, 2])
    fleet.run_worker(burst=True)

    told = f"test.batch returned {words}; return one each, in their order, or None."
    assert outcomes(fleet, ids) == [("failed", told)] * 2


def test_a_job_that_gives_no_value_or_two_fails_alone(fleet: Fleet, batched: Registering) -> None:
    async def run(numbers: list[int]) -> list[int]:
        return numbers

    batched(run)
    calls: list[tuple[tuple[int, ...], dict[str, int]]] = [((1,), {}), ((), {"numbers": 2}), ((), {}), ((1, 2), {})]
    calls.append(((1,), {"other": 2}))
    ids = [fleet.enqueue(Job("by name", "test.batch", args, kwargs)) for args, kwargs in calls]
    fleet.run_worker(burst=True)

    assert outcomes(fleet, ids) == [
        ("completed", 1),
        ("completed", 2),
        ("failed", "test.batch takes one value per job; this one has none."),
        ("failed", "test.batch takes one value per job; this one has 2."),
        ("failed", "test.batch takes one value per job; this one gives other too."),
    ]


def test_progress_and_lines_are_those_of_their_jobs(fleet: Fleet, batched: Registering) -> None:
    async def run(items: list[BatchItem[int]]) -> None:
        for item in items:
            item.context.progress(item.value / 10, f"at {item.value}")
            item.context.log.info("line of %d", item.value)
        logging.getLogger("app").warning("line of all")

    ids = enqueue_all(fleet, batched(run), [1, 2, 3])
    fleet.run_worker(burst=True)

    assert [(job.progress, job.progress_message) for job in ended(fleet, ids)] == [
        (1.0, f"at {number}") for number in (1, 2, 3)
    ]
    assert [[line.text for line in fleet.logs(job_id)] for job_id in ids] == [
        [f"line of {number}", "line of all"] for number in (1, 2, 3)
    ]


def test_hooks_middleware_and_resources_stand_around_every_job(
    fleet: Fleet, registry: Registry, batched: Registering
) -> None:
    told: list[tuple[str, object]] = []
    OPENED.clear()

    @fleet.hooks.before
    def before(ctx: JobContext) -> None:
        if ctx.job.args == (2,):
            raise ValueError("not this one")

    @fleet.hooks.after
    def after(ctx: JobContext, outcome: Outcome) -> None:
        told.append((type(outcome).__name__, ctx.job.args[0]))

    async def around(ctx: JobContext, call_next: Callable[[], Any]) -> Any:
        return f"<{await call_next()}>"

    registry.around_run.append(around)

    async def run(
        items: list[BatchItem[int]], pool: Annotated[str, Resource(open_pool)] = Resource.injected
    ) -> list[str]:
        return [f"{pool} {item.value} of {len(items)}" for item in items]

    ids = enqueue_all(fleet, batched(run, batch_wait=0.5), [1, 2, 3])
    fleet.run_worker(burst=True)

    assert outcomes(fleet, ids) == [
        ("completed", "<pool 1 of 2>"),
        ("failed", "not this one"),
        ("completed", "<pool 3 of 2>"),
    ]
    assert OPENED == ["pool"]
    assert sorted(told) == [("Raised", 2), ("Succeeded", 1), ("Succeeded", 3)]


def test_a_drain_runs_what_was_gathered(fleet: Fleet, batched: Registering, working: Working) -> None:
    async def run(numbers: list[int]) -> list[int]:
        return numbers

    function = batched(run, batch_wait=3600)
    with working() as stop:
        handles = [function.enqueue(number) for number in range(3)]
        wait_until(lambda: fleet.statistics()["running"] == 3, why="they are gathered")
        stop.set()
        assert [handle.result(timeout=30) for handle in handles] == [0, 1, 2]


def test_a_drain_without_grace_gives_a_batch_back_uncounted(
    fleet: Fleet, batched: Registering, working: Working
) -> None:
    begun = threading.Event()
    ends: list[str] = []

    async def run(numbers: list[int]) -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ends.append("interrupted")

    object.__setattr__(fleet.context.config, "grace", 0.0)
    function = batched(run)
    with working():
        ids = enqueue_all(fleet, function, range(3))
        assert begun.wait(30)

    assert ends == ["interrupted"]
    assert {(job.status, job.attempt, job.runs, job.retry_count) for job in ended(fleet, ids)} == {
        (JobStatus.QUEUED, 0, 1, 0)
    }


def test_a_gathered_job_that_is_cancelled_is_left_out(fleet: Fleet, batched: Registering, working: Working) -> None:
    calls: list[list[int]] = []

    async def run(numbers: list[int]) -> None:
        calls.append(numbers)

    function = batched(run, batch_wait=3600)
    with working() as stop:
        ids = enqueue_all(fleet, function, range(3))
        wait_until(lambda: fleet.statistics()["running"] == 3, why="they are gathered")
        assert fleet.cancel(ids[1], by="ann")
        assert fleet.wait(ids[1], timeout=30).status is JobStatus.CANCELLED
        stop.set()
        assert [fleet.wait(job_id, timeout=30).status for job_id in (ids[0], ids[2])] == [JobStatus.COMPLETED] * 2

    assert calls == [[0, 2]]


def test_an_item_knows_its_job_as_it_was_asked_for(fleet: Fleet, batched: Registering) -> None:
    async def run(items: list[BatchItem[int]]) -> list[object]:
        return [[list(item.context.job.args), dict(item.context.job.kwargs), list(item.context.tags)] for item in items]

    function = batched(run)
    handles = [function.options(tags=["eu"]).enqueue(1), function.enqueue(items=2)]
    fleet.run_worker(burst=True)

    assert [handle.poll().result for handle in handles] == [[[1], {}, ["eu"]], [[], {"items": 2}, []]]


def test_jobs_that_wait_for_others_are_gathered_once_those_have_ended(fleet: Fleet, batched: Registering) -> None:
    async def run(items: list[BatchItem[int]]) -> list[object]:
        return [sum(one.result or 0 for one in item.context.parents.values()) + item.value for item in items]

    function = batched(run)
    first = function.enqueue(1)
    after = [function.options(depends_on=[first]).enqueue(value) for value in (10, 20)]
    fleet.run_worker(burst=True)

    assert [handle.poll().result for handle in (first, *after)] == [1, 11, 21]
