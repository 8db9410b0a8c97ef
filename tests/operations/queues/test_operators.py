"""Operators' verbs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus, Priority
from jobfleet.errors import ConfigError
from jobfleet.functions.registry import Registry
from jobfleet.model import STORED
from jobfleet.operations.queues import QueueInfo
from tests.client.either import Either
from tests.support.each import each

Work = Callable[[], Awaitable[None]]
NONE = {"low": 0, "normal": 0, "high": 0, "critical": 0}
NOTHING = dict.fromkeys(("enqueued", "completed", "failed", "cancelled", "expired", "retried", "lost", "replayed"), 0)
EMPTY = QueueInfo("default", 1, 0, 0, 0, 0, 0, 0, NONE, timedelta(), None, NOTHING, timedelta())


def timeless(row: QueueInfo) -> QueueInfo:
    return replace(row, latency=timedelta(), run_time=timedelta())


async def fill(client: Either) -> None:
    """Three that are due, one later, one that fails, one that is cancelled."""
    for priority in (Priority.HIGH, Priority.NORMAL, Priority.NORMAL):
        await client("enqueue", Job("Sum", "app.add", (1, 2), priority=priority))
    await client("enqueue", Job("Sum", "app.add", (1, 2), delay=3600, priority=Priority.LOW))
    await client("enqueue", Job("Fail", "app.fail", ("no luck",), id="dead"))
    await client("enqueue", Job("Sum", "app.add", (1, 2), id="gone"))
    await client("cancel", "default.0.gone", by="ann")


async def test_queues_of_an_empty_fleet_are_none(client: Either) -> None:
    assert await client("queues") == []
    assert (await client("statistics"))["total"] == 0


async def test_queues_tell_what_stands_where(client: Either, work: Work) -> None:
    await fill(client)
    [before] = await client("queues")
    await work()
    _bulk, after = await client("queues")  # the worker opened its own

    assert timeless(before) == replace(
        EMPTY,
        queued=4,
        scheduled=1,
        by_priority={"low": 1, "normal": 3, "high": 1, "critical": 0},
        totals={**NOTHING, "enqueued": 6, "cancelled": 1},
    )
    assert before.latency > timedelta()
    assert timeless(after) == replace(
        EMPTY,
        scheduled=1,
        dead=1,
        by_priority={**NONE, "low": 1},
        totals={**NOTHING, "enqueued": 6, "cancelled": 1, "completed": 3, "failed": 1},
    )
    assert after.run_time > timedelta()


async def test_statistics_count_the_whole_fleet(client: Either, work: Work) -> None:
    await fill(client)
    await client("enqueue", Job("Steps", "app.steps", (1,)))
    await work()

    told = await client("statistics")

    assert told.pop("average_duration") > 0
    by_queue = told.pop("by_queue")
    assert told == {
        "total": 7,
        "blocked": 0,
        "scheduled": 1,
        "queued": 0,
        "running": 0,
        "retrying": 0,
        "completed": 4,
        "failed": 1,
        "cancelled": 1,
        "expired": 0,
        "queue_size": 1,
        "by_priority": {**NONE, "low": 1},
        "dead_letters": 1,
        "workers": 0,
        "success_rate": 0.8,
    }
    assert {status.value for status in STORED} <= {"average_duration", *told}
    assert sum(row["completed"] for row in by_queue.values()) == 4
    assert all({status.value for status in STORED} <= row.keys() for row in by_queue.values())


async def test_a_paused_queue_is_not_served_until_it_is_resumed(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))

    assert await client("pause", "default", by="ann") is True
    assert await client("pause", "default", by="bob") is False
    await work()
    assert (await client("poll", job_id)).status is JobStatus.QUEUED
    assert {row.name: row.paused for row in await client("queues")} == {"bulk": None, "default": "ann"}

    assert await client("resume", "default") is True
    assert await client("resume", "default") is False
    await work()
    assert (await client("poll", job_id)).result == 3


async def test_every_lane_of_a_queue_is_paused(redis_url: str, client: Either) -> None:
    with Fleet(redis_url, lanes="mail=3") as wide:
        wide._do(iter_opening(wide, "mail"))

    assert await client("pause", "mail") is True
    [row] = await client("queues")
    assert (row.name, row.lanes, row.paused) == ("mail", 3, "-")


def iter_opening(fleet: Fleet, queue: str) -> Any:
    yield (fleet.context.open_queue_call(queue),)


@each("verb", ["resume", "purge_queue", "dead", "remove_queue"])
async def test_a_queue_that_is_not_there_is_refused_with_those_that_are(client: Either, verb: str) -> None:
    await client("enqueue", Job("Sum", "app.add", (1, 2)))

    with pytest.raises(ConfigError) as caught:
        await client(verb, "mial")

    assert str(caught.value) == "No queue 'mial'; there are: default."


async def test_purging_a_queue_cancels_what_waits(client: Either) -> None:
    await client.all("enqueue_many", [Job("Sum", "app.add", (n, n), id=f"n{n}") for n in range(120)])
    await client("enqueue", Job("Sum", "app.add", (1, 2), delay=60, priority=Priority.LOW, id="late"))
    await client("enqueue", Job("Steps", "app.steps", (1,), id="other"))

    assert await client("purge_queue", "default", by="ann") == 121
    assert await client("purge_queue", "default") == 0

    assert (await client("poll", "default.0.n7")).error == "cancelled by ann"
    assert (await client("poll", "default.0.late")).status is JobStatus.CANCELLED
    assert (await client("poll", "bulk.0.other")).status is JobStatus.QUEUED


# Dead letters


async def test_dead_letters_are_listed_opened_replayed_and_purged(client: Either, work: Work) -> None:
    await client("enqueue", Job("Fail", "app.fail", ("no luck",), id="dead", user="ann"))
    await work()

    [row] = await client("dead")
    assert (row.id, row.status, row.error_class, row.user) == (
        "default.0.dead",
        JobStatus.FAILED,
        "RuntimeError",
        "ann",
    )
    letter = await client("letter", row.id)
    assert (letter.job.id, letter.reason, letter.args, letter.kwargs) == (row.id, "error", ("no luck",), {})
    assert [entry.split(" ", 2)[2] for entry in letter.history] == ["RuntimeError: no luck"]

    assert await client("replay", row.id, by="ann") is True
    assert await client("replay", row.id) is False
    assert await client("dead") == []
    assert (await client("poll", row.id)).status is JobStatus.QUEUED

    await work()
    [again] = await client("dead")
    history = (await client("letter", again.id)).history
    assert [[word for word in entry.split(" ") if not word[0].isdigit()] for entry in history] == [
        ["RuntimeError:", "no", "luck"],
        ["replayed", "ann"],
        ["RuntimeError:", "no", "luck"],
    ]
    assert await client("purge", again.id) is True
    assert await client("purge", again.id) is False
    assert await client("dead") == []


async def test_who_replayed_a_job_is_no_error_of_it(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("Fail", "app.fail", ("no luck",)))
    await work()
    assert (await client("poll", job_id)).error == "no luck"

    await client("replay", job_id, by="ann")

    assert (await client("poll", job_id)).error is None


async def test_the_newest_dead_letters_of_all_queues_come_first(client: Either, work: Work) -> None:
    for number, queue in enumerate(["a", "b", "a", "c", "b"]):
        await client("enqueue", Job("Fail", "app.fail", ("x",), queue=queue, id=f"n{number}"))
        await client("enqueue", Job("Sum", "app.add", (1, 1), id=f"s{number}"))
        fleet = client.fleet
        with Fleet(fleet.config.url, registry=fleet.context.registry) as worker:
            await Either(worker)("run_worker", queues=[queue, "default"], burst=True)

    assert [row.id for row in await client("dead", limit=3)] == ["b.0.n4", "c.0.n3", "a.0.n2"]
    assert [row.id for row in await client("dead", "a")] == ["a.0.n2", "a.0.n0"]
    assert await client("dead", limit=0) == []


# Workers


async def test_workers_tell_of_themselves_while_they_are_there(
    redis_url: str, registry: Registry, client: Either
) -> None:
    seen: list[Any] = []

    def look() -> None:
        with Fleet(redis_url) as own:
            seen.extend(own.workers())

    registry.register(look, name="app.look")
    before = datetime.now(UTC) - timedelta(seconds=5)
    job_id = await client("enqueue", Job("Look", "app.look"))
    with Fleet(redis_url, registry=registry) as fleet:
        await Either(fleet)("run_worker", queues=["default", "bulk"], slots=7, burst=True)

    assert (await client("poll", job_id)).status is JobStatus.COMPLETED
    assert await client("workers") == []
    for worker in seen:
        assert (worker.queues, worker.slots, worker.state, worker.is_gone) == (("default", "bulk"), 7, "running", False)
        assert worker.beat > before


async def test_purging_a_queue_passes_by_a_row_that_is_no_job_of_it(client: Either, raw: redis.Redis) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))
    raw.zadd("{jobfleet:default:0}:ready:2", {"other.0.a": 1})

    assert await client("purge_queue", "default") == 1

    assert (await client("poll", job_id)).status is JobStatus.CANCELLED
