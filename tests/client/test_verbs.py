"""Producers' verbs, of both clients: a job from enqueue to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobfleet import (
    EncodingError,
    ErrorType,
    Fleet,
    InvalidJob,
    Job,
    JobNotFound,
    JobResult,
    JobStatus,
    Priority,
    Receipt,
    WaitTimeout,
)
from jobfleet.errors import LIBRARY
from jobfleet.events import Event
from jobfleet.store.keys import Keyspace
from tests.client.either import Either
from tests.support.waiting import wait_until

Work = Callable[[], Awaitable[None]]
LANE = Keyspace("jobfleet").lane("default", 0)
NEVER = timedelta(hours=1)


def timeless(result: JobResult[Any]) -> JobResult[Any]:
    """A result without what differs from run to run."""
    return replace(
        result,
        enqueued_at=None,
        scheduled_at=None,
        started_at=None,
        completed_at=None,
        duration=None,
        worker=None,
        fence=None,
        traceback=None,
    )


# Enqueue


async def test_submit_answers_a_receipt_and_enqueue_its_id(client: Either) -> None:
    one, other = Job("Sum", "app.add", (1, 2)), Job("Sum", "app.add", (3, 4), delay=60)

    assert await client("submit", one) == Receipt(id=f"default.0.{one.suffix}", created=True, status=JobStatus.QUEUED)
    assert await client("submit", other) == Receipt(
        id=f"default.0.{other.suffix}", created=True, status=JobStatus.SCHEDULED
    )
    third = Job("Steps", "app.steps", (3,))
    assert await client("enqueue", third) == f"bulk.0.{third.suffix}"


async def test_the_same_object_enqueued_twice_is_one_job(client: Either, raw: redis.Redis) -> None:
    job = Job("Sum", "app.add", (1, 2))

    first, second = await client("submit", job), await client("submit", job)

    assert (first.created, second) == (True, first._replace(created=False))
    assert raw.zcard(LANE.ready[2]) == 1


async def test_the_same_id_enqueued_twice_is_one_job(client: Either, raw: redis.Redis, work: Work) -> None:
    first = await client("submit", Job("Sum", "app.add", (1, 2), id="sum:1"))
    second = await client("submit", Job("Sum", "app.add", (9, 9), id="sum:1"))
    await work()
    third = await client("submit", Job("Sum", "app.add", (9, 9), id="sum:1"))

    assert [(one.id, one.created) for one in (first, second, third)] == [
        ("default.0.sum:1", True),
        ("default.0.sum:1", False),
        ("default.0.sum:1", False),
    ]
    assert raw.zcard(LANE.ready[2]) == 0
    assert (await client("poll", "default.0.sum:1")).result == 3


async def test_a_priority_is_a_band(client: Either, raw: redis.Redis) -> None:
    for priority in (None, *Priority):
        await client("enqueue", Job("Sum", "app.add", (1, 2), priority=priority))

    assert [raw.zcard(band) for band in LANE.ready] == [1, 1, 2, 1]


async def test_a_job_that_cannot_travel_is_refused_and_leaves_nothing(client: Either, raw: redis.Redis) -> None:
    with pytest.raises(EncodingError) as caught:
        await client("enqueue", Job("Sum", "app.add", (1, {"y": object()})))

    assert caught.value.path == "args[1]['y']"
    assert raw.zcard(LANE.ready[2]) == 0


async def test_metadata_beyond_its_limit_is_refused(client: Either) -> None:
    with pytest.raises(EncodingError, match="metadata"):
        await client("enqueue", Job("Sum", "app.add", (1, 2), metadata={"a": "x" * 20_000}))


async def test_a_lambda_is_refused_before_anything_is_sent(client: Either, raw: redis.Redis) -> None:
    with pytest.raises(InvalidJob, match="has a lambda; workers find functions by name"):
        await client("enqueue", Job("Cleanup", lambda: None))

    assert raw.dbsize() == 0


# Poll


async def test_poll_tells_of_a_job_that_waits(client: Either) -> None:
    job = Job("Sum", "app.add", (1, 2), tags=["eu"], user="ann", metadata={"k": 1}, correlation_id="c-1")
    before = datetime.now(UTC) - timedelta(seconds=1)

    result = await client("poll", await client("enqueue", job))

    assert timeless(result) == JobResult(
        id=f"default.0.{job.suffix}",
        status=JobStatus.QUEUED,
        function="app.add",
        name="Sum",
        queue="default",
        user="ann",
        correlation_id="c-1",
        tags=("eu",),
        metadata={"k": 1},
    )
    assert before < result.enqueued_at <= datetime.now(UTC) + timedelta(seconds=1)


async def test_poll_tells_when_a_job_is_due(client: Either) -> None:
    due = datetime(2100, 1, 1, tzinfo=UTC)

    result = await client("poll", await client("enqueue", Job("Sum", "app.add", (1, 2), scheduled_at=due)))

    assert (result.status, result.scheduled_at) == (JobStatus.SCHEDULED, due)


async def test_poll_tells_of_a_job_that_completed(client: Either, work: Work) -> None:
    job = Job("Steps", "app.steps", (4,), id="four")
    job_id = await client("enqueue", job)

    await work()
    result = await client("poll", job_id)

    assert timeless(result) == JobResult(
        id="bulk.0.four",
        status=JobStatus.COMPLETED,
        result=4,
        progress=1.0,
        progress_message="step 4",
        progress_details={"done": 4},
        attempt=1,
        runs=1,
        function="app.steps",
        name="Steps",
        queue="bulk",
    )
    assert result.enqueued_at <= result.started_at <= result.completed_at
    assert timedelta() <= result.duration < timedelta(seconds=30)
    assert result.worker
    assert result.fence >= 1


async def test_poll_tells_of_a_job_that_failed(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("Fail", "app.fail", ("no luck",)))

    await work()
    result = await client("poll", job_id)

    assert (result.status, result.error_type) == (JobStatus.FAILED, ErrorType.TRANSIENT)
    assert result.error_class == "RuntimeError"
    assert "no luck" in result.error
    assert result.traceback.rstrip().endswith("RuntimeError: no luck")
    assert (result.attempt, result.retry_count, result.result) == (1, 0, None)


async def test_poll_tells_how_often_a_job_was_tried(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("Flaky", "app.flaky", (2,), max_retries=5, retry_delay=0))

    await work()
    result = await client("poll", job_id)

    assert (result.status, result.result, result.attempt, result.retry_count) == (JobStatus.COMPLETED, 3, 3, 2)


async def test_poll_many_answers_in_order_and_none_for_the_unknown(client: Either, work: Work) -> None:
    ids = [await client("enqueue", Job("Sum", "app.add", (n, n))) for n in range(3)]
    await work()

    answers = await client("poll_many", [ids[2], "default.0.nobody", ids[0], "no id", ids[2]])

    assert [answer and answer.result for answer in answers] == [4, None, 0, None, 4]


async def test_poll_many_of_nothing_is_nothing(client: Either) -> None:
    assert await client("poll_many", []) == []


@pytest.mark.parametrize("verb", ["poll", "wait", "cancel", "replay", "letter"])
@pytest.mark.parametrize("job_id", ["", "sum", "default.x.sum", "default.0.never"])
async def test_an_id_that_names_no_job_is_not_found(client: Either, verb: str, job_id: str) -> None:
    with pytest.raises(JobNotFound) as caught:
        await client(verb, job_id)

    assert caught.value.job_id == job_id


async def test_a_job_that_is_due_after_the_calendar_is_refused_or_can_be_polled(client: Either) -> None:
    try:
        job = Job("Sum", "app.add", (1, 2), delay=timedelta(days=4_000_000))
    except InvalidJob:
        return

    assert (await client("poll", await client("enqueue", job))).status is JobStatus.SCHEDULED


@pytest.mark.parametrize("group", [None, "acme"])
async def test_a_job_that_was_due_before_1970_runs_at_once(client: Either, work: Work, group: str | None) -> None:
    job = Job("Sum", "app.add", (1, 2), scheduled_at=datetime(1960, 1, 1, tzinfo=UTC), group=group)
    job_id = await client("enqueue", job)
    assert (await client("poll", job_id)).status is JobStatus.QUEUED

    await work()

    assert (await client("poll", job_id)).result == 3


async def test_a_job_that_expired_before_1970_has_expired(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2), expires_at=datetime(1960, 1, 1, tzinfo=UTC)))

    await work()

    assert (await client("poll", job_id)).status is JobStatus.EXPIRED


# Wait


async def test_wait_answers_the_end(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))

    waiting = asyncio.create_task(client("wait", job_id, timeout=20))
    await work()

    assert await waiting == await client("poll", job_id)
    assert (await waiting).result == 3


async def test_wait_for_a_job_that_has_ended_answers_at_once(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("Fail", "app.fail", ("no luck",)))
    await work()

    assert (await client("wait", job_id, timeout=0)).status is JobStatus.FAILED


@pytest.mark.parametrize("timeout", [0, 0.05])
async def test_wait_gives_up_in_time(client: Either, timeout: float) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2), delay=NEVER))

    with pytest.raises(WaitTimeout) as caught:
        await client("wait", job_id, timeout=timeout)

    assert (caught.value.job_id, caught.value.timeout) == (job_id, timeout)
    assert str(caught.value) == f"{job_id} did not end within {timeout:g} s; it is still open."


async def test_wait_is_correct_though_every_message_is_lost(
    client: Either, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.store.channels.message_of", lambda _: None)
    monkeypatch.setattr("jobfleet.store.channels.message_of", lambda _: None)
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))

    waiting = asyncio.create_task(client("wait", job_id))
    await work()

    assert (await waiting).result == 3


async def test_wait_says_so_when_no_worker_serves_the_queue(
    client: Either, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.client.base.WARN_AFTER", 0.0)
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2), queue="lonely"))

    with (
        pytest.warns(
            UserWarning,
            match=r"^No live worker serves the queue 'lonely'; start one: 'jobfleet worker MODULE -Q lonely'\.$",
        ) as told,
        pytest.raises(WaitTimeout),
    ):
        await client("wait", job_id, timeout=1)
    assert not told[0].filename.startswith(LIBRARY)


# Cancel and events


async def test_a_job_that_waits_is_cancelled(client: Either) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))

    assert await client("cancel", job_id, by="ann") is True
    result = await client("poll", job_id)

    assert (result.status, result.error, result.cancel_requested_by) == (
        JobStatus.CANCELLED,
        "cancelled by ann",
        "ann",
    )
    assert await client("cancel", job_id) is False


async def test_a_job_that_has_ended_cannot_be_cancelled(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))
    await work()

    assert await client("cancel", job_id, by="ann") is False
    assert (await client("poll", job_id)).status is JobStatus.COMPLETED


async def test_events_tell_what_happens_in_its_order(client: Either, work: Work, raw: redis.Redis) -> None:
    job_id = await client("enqueue", Job("Flaky", "app.flaky", (1,), retry_delay=0))

    events = asyncio.create_task(client.all("events", job_id))
    await asyncio.to_thread(wait_until, lambda: raw.exists(LANE.listeners), why="the lane publishes events")
    await work()
    told: list[Event] = await events

    assert [event.event for event in told] == ["claimed", "retried", "claimed", "completed"][: len(told)]
    assert {event.id for event in told} <= {job_id}
    assert [event.at for event in told] == sorted(event.at for event in told)


@pytest.mark.not_on("cluster", reason="messages cross the nodes: the last ones may come after the end was seen")
async def test_events_that_came_before_the_end_was_seen_are_told(
    client: Either, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await client("enqueue", Job("Flaky", "app.flaky", (1,), retry_delay=0))
    poll = client.fleet.poll

    def poll_late(job_id: str) -> JobResult[Any]:
        asyncio.run(work())  # type: ignore[arg-type]
        return poll(job_id)  # type: ignore[return-value]

    async def apoll_late(job_id: str) -> JobResult[Any]:
        await work()
        return await poll(job_id)  # type: ignore[misc, no-any-return]

    monkeypatch.setattr(client.fleet, "poll", poll_late if isinstance(client.fleet, Fleet) else apoll_late)
    told: list[Event] = await client.all("events", job_id)

    assert [event.event for event in told] == ["claimed", "retried", "claimed", "completed"]


async def test_events_of_a_job_that_has_ended_are_none(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))
    await work()

    assert await client.all("events", job_id) == []
