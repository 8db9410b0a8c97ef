"""Functions of a fleet: by decorator, by name only, on a running loop."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobfleet import (
    AsyncFleet,
    AsyncJobHandle,
    Fleet,
    Job,
    JobCancelled,
    JobFailed,
    JobHandle,
    JobStatus,
    Priority,
    WaitTimeout,
)
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from tests.client.conftest import awaited as client
from tests.client.either import Either

__all__ = ["client"]  # a fixture

KEYS = Keyspace("jobfleet")


@pytest.fixture
def publish(raw: redis.Redis, registry: Registry) -> None:
    """Workers have published the functions, and this process forgot them."""
    registry.functions["app.add"].given = {"queue": "mail", "priority": Priority.HIGH, "delay": 60}
    for name, function in registry.functions.items():
        raw.hset(KEYS.functions, name, function_record(function))
    registry.functions.clear()


# By name only


@pytest.mark.usefixtures("publish")
async def test_a_name_alone_gets_the_options_that_workers_published(client: Either, raw: redis.Redis) -> None:
    receipt = await client("submit", Job("Sum", "app.add", (1, 2), id="one"))

    assert (receipt.id, receipt.status) == ("mail.0.one", JobStatus.SCHEDULED)
    assert raw.zcard(KEYS.lane("mail", 0).ready[Priority.HIGH.band]) == 1


@pytest.mark.parametrize(("after", "status"), [(-60, JobStatus.QUEUED), (60, JobStatus.SCHEDULED)])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_receipt_says_whether_the_due_time_is_ahead(
    client: Either, work: Any, after: int, status: JobStatus, waits: bool
) -> None:
    parent = await client("enqueue", Job("Sum", "app.add", (1, 2)))
    await work()
    due = datetime.now(UTC) + timedelta(seconds=after)
    job = Job("Sum", "app.add", (1, 2), scheduled_at=due, depends_on=[parent] if waits else None)

    receipt = await client("submit", job)

    assert receipt.status is status
    assert (await client("poll", receipt.id)).status is status
    (many,) = await client.all("enqueue_many", [Job("Sum", "app.add", (1, 2), scheduled_at=due)])
    assert many.status is status


@pytest.mark.usefixtures("publish")
async def test_what_the_job_says_goes_before_what_was_published(client: Either, raw: redis.Redis) -> None:
    job = Job("Sum", "app.add", (1, 2), id="one", queue="own", priority=Priority.LOW, delay=0)

    receipt = await client("submit", job)

    assert (receipt.id, receipt.status) == ("own.0.one", JobStatus.QUEUED)
    assert raw.zcard(KEYS.lane("own", 0).ready[Priority.LOW.band]) == 1


@pytest.mark.usefixtures("publish")
async def test_a_name_that_nobody_knows_warns_and_is_enqueued(client: Either) -> None:
    with pytest.warns(
        UserWarning, match=r"^No worker has published 'app\.ad'; did you mean 'app\.add'\?.*will be parked"
    ):
        receipt = await client("submit", Job("Sum", "app.ad", (1, 2), id="one"))

    assert (receipt.id, receipt.status) == ("default.0.one", JobStatus.QUEUED)


async def test_a_fleet_without_workers_knows_no_name_and_guesses_none(redis_url: str) -> None:
    job = Job("Sum", "app.add", (1, 2))

    place = r"goes to queue 'default' \(give queue if the function has another one\) and "
    with Fleet(redis_url, registry=Registry()) as fleet:
        with pytest.warns(UserWarning, match=rf"^No worker has published 'app\.add'\. The job {place}will be parked;"):
            await Either(fleet)("enqueue", job)
        with pytest.warns(UserWarning, match=r"^No worker has published 'app\.add'\. The job will be parked;"):
            await Either(fleet)("enqueue", Job("Sum", "app.add", (1, 2), queue="own"))


# By decorator


@pytest.fixture
def own(redis_url: str) -> Iterator[Fleet]:
    with Fleet(redis_url, registry=Registry(), patience=5) as fleet:
        yield fleet


def double(n: int) -> int:
    """Double a number."""
    return 2 * n


def test_a_fleets_own_function_goes_to_its_fleet(own: Fleet) -> None:
    twice = own.job(queue="mail", max_retries=0)(double)

    handle = twice.enqueue(21)
    own.run_worker(burst=True)

    assert isinstance(handle, JobHandle)
    assert (str(handle), handle.created, handle.receipt.id) == (handle.id, True, handle.id)
    assert handle.id.startswith("mail.0.")
    assert handle.result(timeout=0) == 42


async def test_a_fleets_own_function_is_enqueued_on_the_loop_that_runs(own: Fleet) -> None:
    twice: Any = own.job(double)

    handles = await asyncio.gather(*(twice.aenqueue(n) for n in range(5)))
    await Either(own)("run_worker", burst=True)

    assert all(isinstance(handle, AsyncJobHandle) for handle in handles)
    assert [await handle.result(timeout=0) for handle in handles] == [0, 2, 4, 6, 8]
    await own.for_running_loop().aclose()


async def test_a_sync_enqueue_on_a_running_loop_warns_and_works(own: Fleet) -> None:
    twice: Any = own.job(double)

    with pytest.warns(RuntimeWarning, match=r"^enqueue blocks the event loop that runs here; await aenqueue") as told:
        handle = twice.enqueue(1)

    assert handle.created
    assert len(told) == 1


async def test_a_sync_enqueue_many_on_a_running_loop_warns_with_a_verb_that_exists(own: Fleet) -> None:
    twice: Any = own.job(double)

    with pytest.warns(RuntimeWarning, match=r"^enqueue_many blocks the event loop") as told:
        list(own.enqueue_many([twice.job(1)]))

    assert "aenqueue_many" not in str(told[0].message)


def test_a_sync_enqueue_without_a_loop_does_not_warn(own: Fleet) -> None:
    twice: Any = own.job(double)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twice.enqueue(1)
        list(own.enqueue_many([twice.job(1)]))


@pytest.fixture
async def awaiting(redis_url: str) -> AsyncIterator[AsyncFleet]:
    async with AsyncFleet(redis_url, registry=Registry()) as fleet:
        yield fleet


async def test_a_function_of_an_async_fleet_is_enqueued_with_await(awaiting: AsyncFleet) -> None:
    twice: Any = awaiting.job(double)

    handle = await twice.aenqueue(21)

    assert (await handle.poll()).status is JobStatus.QUEUED


async def test_a_function_of_an_async_fleet_cannot_be_enqueued_without_await(awaiting: AsyncFleet) -> None:
    twice: Any = awaiting.job(double)

    try:
        handle = twice.enqueue(21)
    except TypeError as error:
        assert "aenqueue" in str(error)  # noqa: PT017
        return
    if asyncio.iscoroutine(handle):
        handle.close()
    assert not asyncio.iscoroutine(handle)


# Handles


def test_a_handle_tells_how_its_job_ended(own: Fleet) -> None:
    def bad() -> None:
        raise KeyError("k")

    failing: Any = own.job(name="app.bad")(bad)
    twice: Any = own.job(double)
    failed, cancelled, later = failing.enqueue(), twice.enqueue(1), twice.options(delay=60).enqueue(1)

    assert cancelled.cancel(by="ann")
    own.run_worker(burst=True)

    with pytest.raises(JobFailed, match=r"failed: .*'k'") as caught:
        failed.result(timeout=0)
    assert (caught.value.job_id, caught.value.error_class) == (failed.id, "KeyError")
    assert caught.value.traceback is not None
    with pytest.raises(JobCancelled, match=f"^{cancelled.id} was cancelled by ann\\.$"):
        cancelled.result(timeout=0)
    with pytest.raises(WaitTimeout):
        later.result(timeout=0)
    assert failed.wait(timeout=0).status is JobStatus.FAILED
    assert list(failed.events()) == []


def test_handles_of_one_job_are_equal_and_have_one_hash(own: Fleet) -> None:
    twice: Any = own.job(double)
    job = twice.options(id="one").job(1)

    one, again, other = own.handle_of(job), own.handle_of(job), twice.enqueue(1)

    assert (one.created, again.created) == (True, False)
    assert {one, again, other} == {one, other}
    assert repr(one) == "<JobHandle default.0.one>"


async def test_an_awaited_handle_has_the_same_verbs(own: Fleet, awaiting: AsyncFleet) -> None:
    twice: Any = awaiting.job(double)
    awaiting.context.registry.register(double)
    handle, gone = await twice.aenqueue(4), await twice.aenqueue(5)

    assert await gone.cancel(by="ann") is True
    worker = Fleet(awaiting.config.url, registry=awaiting.context.registry)
    await Either(worker)("run_worker", burst=True)
    worker.close()

    assert (await handle.wait(timeout=0)).result == 8
    assert await handle.result() == 8
    assert [event async for event in handle.events()] == []
    with pytest.raises(JobCancelled):
        await gone.result()
    assert repr(handle) == f"<AsyncJobHandle {handle.id}>"


# A worker in this process


def test_a_burst_ends_only_when_nothing_that_is_due_is_left(fleet: Fleet) -> None:
    ids = [fleet.enqueue(Job("Flaky", "app.flaky", (12,), max_retries=20, retry_delay=0)) for _ in range(3)]

    fleet.run_worker(burst=True)

    assert [fleet.poll(job_id).result for job_id in ids] == [13, 13, 13]


def test_a_worker_in_this_process_ends_when_it_is_told(fleet: Fleet) -> None:
    stop = threading.Event()
    worker = threading.Thread(target=lambda: fleet.run_worker(stop=stop))
    worker.start()

    result = fleet.wait(fleet.enqueue(Job("Sum", "app.add", (1, 2))), timeout=20)
    stop.set()
    worker.join(20)

    assert (result.result, worker.is_alive()) == (3, False)


def test_an_error_whose_text_cannot_be_encoded_fails_its_job_like_any_other(fleet: Fleet) -> None:
    def bad() -> None:
        raise OSError("no such file: \udcff")

    fleet.context.registry.register(bad, name="app.bad", max_retries=0)
    job_id = fleet.enqueue(Job("Bad", "app.bad"))

    fleet.run_worker(burst=True)

    result = fleet.poll(job_id)
    assert (result.status, result.error_class) == (JobStatus.FAILED, "OSError")
    assert "no such file: " in (result.error or "")
    assert "no such file: " in (result.traceback or "")
