"""Pausing functions of jobs that have groups, tags and unique keys, with a worker in this process."""

from __future__ import annotations

import asyncio

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus, Priority
from jobfleet.errors import ConfigError, DuplicateJob, InvalidJob
from jobfleet.model.result import ReasonCode
from jobfleet.store.keys import Keyspace
from tests.client.either import Either
from tests.operations.queues.test_pausing import run_once
from tests.support.groups import faults

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)


def add(group: str = "acme", **options: object) -> Job:
    return Job("x", "app.add", (1, 2), group=group, **options)  # type: ignore[arg-type]


def nothing_is_left(raw: redis.Redis) -> None:
    assert raw.exists(LANE.grouped, LANE.ring, LANE.held, LANE.meta) == 0
    assert faults(raw, LANE) == []


async def test_jobs_of_a_group_wait_give_their_slots_free_and_go_on(
    client: Either, fleet: Fleet, raw: redis.Redis
) -> None:
    await client("enqueue", add("zeta"))
    await asyncio.to_thread(fleet.limits.set, "default", group="acme", concurrency=1)
    held = [await client("enqueue", add(tags=("eu",), user="ann")) for _ in range(3)]
    other = await client("enqueue", Job("x", "app.flaky", (0,), group="acme"))
    assert await client("pause", function="app.add", by="ann") is True
    await run_once(fleet)

    assert (await client("poll", other)).status is JobStatus.COMPLETED
    assert faults(raw, LANE) == []
    assert raw.zcard(LANE.held) == 0
    queued = await client("jobs", status=JobStatus.QUEUED)
    assert {job.id for job in queued.jobs} >= set(held)
    assert [job.id for job in (await client("jobs", tags="eu")).jobs] == held[::-1]
    assert {job.group for job in (await client("jobs", user="ann")).jobs} == {"acme"}
    reasons = (await client("explain", held[2])).reasons
    assert reasons[0].code is ReasonCode.PAUSED_FUNCTION
    assert not {ReasonCode.GROUP_FULL, ReasonCode.BEHIND} & {reason.code for reason in reasons}

    assert await client("resume", function="app.add") is True
    assert faults(raw, LANE) == []
    assert raw.zcard(LANE.grouped) == 4
    await run_once(fleet)

    assert {(await client("poll", job_id)).status for job_id in held} == {JobStatus.COMPLETED}
    nothing_is_left(raw)


async def test_such_jobs_are_found_by_tag_and_cancelled_rescheduled_and_moved(
    client: Either, fleet: Fleet, raw: redis.Redis
) -> None:
    gone, later, moved, urgent = [await client("enqueue", add(tags=(tag,))) for tag in ("a", "b", "c", "d")]
    await client("pause", "default", function="app.add")
    await run_once(fleet)

    assert await client("cancel_many", tags=("a",)) == 1
    assert await client("reschedule_many", tags=("b",), delay=3600) == 1
    assert await client("move_many", "urgent", tags=("c",)) == 1
    assert await client("reschedule_many", tags=("d",), priority=Priority.CRITICAL) == 1

    assert (await client("poll", gone)).status is JobStatus.CANCELLED
    assert (await client("poll", later)).status is JobStatus.SCHEDULED
    assert (await client("poll", urgent)).status is JobStatus.QUEUED
    new = (await client("poll", moved)).moved_to
    assert new is not None
    assert [job.id for job in (await client("jobs", tags="c", queue="urgent")).jobs] == [new]
    assert faults(raw, LANE) == faults(raw, KEYS.lane("urgent", 0)) == []
    assert raw.zcard(KEYS.lane("urgent", 0).grouped) == 1
    assert await client("purge_queue", "default") == 2
    nothing_is_left(raw)


async def test_one_that_cannot_be_moved_stays_set_aside(client: Either, fleet: Fleet, raw: redis.Redis) -> None:
    held = await client("enqueue", add(unique="k"))
    await client("enqueue", add(unique="k", queue="urgent"))
    await client("pause", "default", function="app.add")
    await run_once(fleet)
    before = raw.zscore(LANE.ready[2], held)

    with pytest.raises(DuplicateJob):
        await client("move", held, "urgent")

    assert raw.zscore(LANE.ready[2], held) == before
    assert raw.exists(LANE.grouped) == 0
    assert faults(raw, LANE) == []


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_a_group_has_a_queue_and_stands_for_no_function(client: Either, raw: redis.Redis, verb: str) -> None:
    await client("enqueue", add())

    with pytest.raises(ConfigError, match="give its queue too"):
        await client(verb, group="acme")
    with pytest.raises(ConfigError, match="give one"):
        await client(verb, "default", group="acme", function="app.add")
    with pytest.raises(InvalidJob):
        await client(verb, "default", group="")

    assert not raw.exists(LANE.conf)
