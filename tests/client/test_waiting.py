"""`gather`, `as_completed` and `map` of both clients, with a worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import redis

from jobfleet import (
    Fleet,
    InvalidJob,
    Job,
    JobCancelled,
    JobFailed,
    JobNotFound,
    JobResult,
    JobStatus,
    WaitTimeout,
)
from jobfleet.functions.registry import Registry
from tests.client.conftest import Work
from tests.client.either import Either
from tests.support.waiting import await_until

NEVER = 3600
LONG = 60


def add(x: int, y: int) -> Job:
    return Job("Sum", "app.add", (x, y))


def fails() -> Job:
    return Job("Fail", "app.fail", ("no luck",))


@pytest.fixture
def working(fleet: Fleet) -> Iterator[None]:
    """A worker in a thread."""
    stop = threading.Event()
    worker = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop})
    worker.start()
    yield
    stop.set()
    worker.join(LONG)
    assert not worker.is_alive()


async def test_gather_returns_the_values_in_the_order_of_the_jobs(client: Either, work: Work) -> None:
    first = await client("handle_of", add(1, 2))
    ended = await client("enqueue", add(3, 4))
    await work()
    receipt = await client("submit", add(5, 6))
    waiting = asyncio.create_task(client("gather", [receipt, first.id, ended, first], timeout=LONG))

    await work()

    assert await waiting == [11, 3, 7, 3]
    assert await client("gather", []) == []


async def test_gather_raises_the_first_error_as_soon_as_it_is_known(client: Either, work: Work) -> None:
    late = await client("enqueue", Job("Sum", "app.add", (1, 2), delay=NEVER))
    bad = await client("enqueue", fails())
    waiting = asyncio.create_task(client("gather", [late, bad], timeout=LONG))

    await work()

    with pytest.raises(JobFailed) as caught:
        await waiting
    assert caught.value.job_id == bad
    assert (await client("poll", late)).status is JobStatus.SCHEDULED


async def test_gather_puts_errors_in_their_places_on_request(client: Either, work: Work) -> None:
    ids = [
        await client("enqueue", one)
        for one in (add(1, 2), fails(), add(1, 1), Job("Sum", "app.add", (1, 2), delay=NEVER))
    ]
    await client("cancel", ids[2])
    await work()

    values = await client("gather", [*ids, "mail.0.nope", "nonsense"], timeout=0.2, return_exceptions=True)

    kinds = [JobFailed, JobCancelled, WaitTimeout, JobNotFound, JobNotFound]
    assert (values[0], [type(value) for value in values[1:]]) == (3, kinds)
    assert [value.job_id for value in values[1:]] == [*ids[1:], "mail.0.nope", "nonsense"]


async def test_gather_names_the_jobs_that_are_still_open(client: Either) -> None:
    ids = [await client("enqueue", Job("Sum", "app.add", (1, 2), delay=NEVER)) for _ in range(3)]

    with pytest.raises(WaitTimeout) as caught:
        await client("gather", ids, timeout=0.1)

    assert caught.value.job_ids == tuple(ids)
    assert str(caught.value) == f"{ids[0]} did not end within 0.1 s; it and 2 others are still open."


@pytest.mark.parametrize("verb", ["gather", "as_completed"])
async def test_another_value_than_a_job_is_refused(client: Either, verb: str) -> None:
    with pytest.raises(InvalidJob, match=r"^7 is not a job; give ids, handles or receipts\.$") as caught:
        await (client.all if verb == "as_completed" else client)(verb, [7])

    assert caught.value.field == "jobs"


async def has(results: list[JobResult[Any]], number: int) -> bool:
    return len(results) == number


async def test_as_completed_yields_each_job_as_soon_as_it_has_ended(client: Either, fleet: Fleet, work: Work) -> None:
    jobs = [await client("handle_of", Job("Sum", "app.add", (n, 0), delay=NEVER)) for n in range(4)]
    results: list[JobResult[Any]] = []
    collecting = asyncio.create_task(client.all("as_completed", [*jobs, jobs[0]], into=results, timeout=LONG))
    order = [jobs[2], jobs[0], jobs[3]]
    for number, job in enumerate(order, 1):
        fleet.reschedule(job.id, delay=0)
        await work()
        await await_until(partial(has, results, number), why="it is yielded")
    fleet.cancel(jobs[1].id)

    await collecting

    assert [result.id for result in results] == [job.id for job in (*order, jobs[1])]
    assert [result.result for result in results] == [2, 0, 3, None]
    assert results[-1].status is JobStatus.CANCELLED


async def test_as_completed_gives_up_in_time(client: Either) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2), delay=NEVER))

    with pytest.raises(WaitTimeout):
        await client.all("as_completed", [job_id], timeout=0.1)


async def test_map_yields_the_values_in_the_order_of_the_items(
    client: Either, registry: Registry, working: None
) -> None:
    function = registry.functions["app.add"]

    assert await client.all("map", function, range(25), range(100, 200), window=6, timeout=LONG) == [
        100 + 2 * n for n in range(25)
    ]
    assert await client.all("map", "app.add", [1, 2], [3, 4], timeout=LONG) == [4, 6]
    assert await client.all("map", function.options(unique="same"), [1, 1, 1], [2, 2, 2], timeout=LONG) == [3, 3, 3]
    assert await client.all("map", function, [], []) == []


async def test_map_takes_items_only_as_far_as_its_window(client: Either, registry: Registry, working: None) -> None:
    taken: list[int] = []

    def items() -> Any:
        for n in range(100):
            taken.append(n)
            yield n

    values = client.fleet.map(registry.functions["app.add"], items(), items(), window=10, timeout=LONG)
    first = await anext(values) if hasattr(values, "__anext__") else await asyncio.to_thread(next, values)

    assert first == 0
    assert len(taken) <= 22


async def test_map_raises_an_error_in_the_place_of_its_job(client: Either, registry: Registry, working: None) -> None:
    function = registry.functions["app.fail"]

    with pytest.raises(JobFailed, match="one"):
        await client.all("map", function, ["one", "two"], timeout=LONG)
    values = await client.all("map", function, ["one", object(), "two"], timeout=LONG, return_exceptions=True)

    assert [type(value).__name__ for value in values] == ["JobFailed", "EncodingError", "JobFailed"]


async def test_a_map_that_is_not_iterated_says_so(client: Either) -> None:
    with pytest.warns(RuntimeWarning, match=r"^map was not iterated: nothing was enqueued\.$"):
        client.fleet.map("app.add", [1], [2])


@pytest.mark.parametrize(
    ("arguments", "options", "field"),
    [
        (("app.add",), {}, "iterables"),
        (("app.add", 7), {}, "iterables"),
        (("app.add", [1]), {"window": 0}, "window"),
        (("app.add", [1]), {"timeout": "soon"}, "timeout"),
    ],
)
async def test_a_map_that_cannot_be_meant_is_refused(
    client: Either, arguments: tuple[Any, ...], options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidJob) as caught:
        client.fleet.map(*arguments, **options)

    assert caught.value.field == field


async def test_waits_of_one_job_all_return(client: Either, work: Work) -> None:
    job_id = await client("enqueue", add(1, 2))
    waits = [asyncio.create_task(client("wait", job_id, timeout=LONG)) for _ in range(5)]

    await work()

    assert [result.result for result in await asyncio.gather(*waits)] == [3] * 5


@contextmanager
def short_replies(raw: redis.Redis) -> Iterator[None]:
    """The server closes a connection with more than 6 MiB of replies."""
    name = "client-output-buffer-limit"
    before = str(raw.config_get(name)[name])
    raw.config_set(name, f"normal {6 * 2**20} 0 0")
    try:
        yield
    finally:
        raw.config_set(name, before)


async def test_large_jobs_are_read_in_several_requests(client: Either, raw: redis.Redis, work: Work) -> None:
    texts = [f"{number}" * 900_000 for number in range(10)]
    ids = [await client("enqueue", Job("Fail", "app.fail", (text,), id=f"large{n}")) for n, text in enumerate(texts)]

    with short_replies(raw):
        waiting = await client("poll_many", [*ids, "default.0.unknown"])
        with pytest.raises(WaitTimeout):
            await client("gather", ids, timeout=0.1)
    await work()

    assert [one and one.id for one in waiting] == [*ids, None]
    ended = await client("gather", ids, timeout=LONG, return_exceptions=True)
    assert [type(one) for one in ended] == [JobFailed] * len(ids)


async def test_a_job_that_completes_keeps_what_happened_before(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("x", "app.flaky", (1,), max_retries=0))
    await work()
    assert await client("replay", job_id, args=(0,), by="ann")
    await work()

    details = await client("details", job_id)

    assert (details.job.status, details.job.attempt, details.job.runs) == (JobStatus.COMPLETED, 1, 2)
    shown = details.life
    assert [(past.kind, past.run, past.outcome, past.error_class, past.by, past.changed) for past in shown] == [
        ("run", 1, "failed", "ConnectionError", None, ()),
        ("replayed", None, None, None, "ann", ("args[0]",)),
        ("run", 2, "completed", None, None, ()),
    ]
    first, replay, second = shown
    times = [details.job.enqueued_at, first.started_at, first.at, replay.at, second.started_at, second.at]
    assert None not in times
    assert times == sorted(times)
    assert (second.started_at, second.at) == (details.job.started_at, details.job.completed_at)
    assert first.worker
    assert first.worker != second.worker == details.job.worker
