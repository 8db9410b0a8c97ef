"""Pausing functions, with a worker in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.errors import ConfigError, InvalidJob
from jobfleet.store.keys import Keyspace
from tests.client.either import Either
from tests.support.each import each

LANE = Keyspace("jobfleet").lane("default", 0)


async def run_once(fleet: Fleet) -> None:
    """Let a worker claim what can be claimed."""
    await asyncio.to_thread(fleet.run_worker, burst=True)


async def test_a_paused_function_waits_while_others_go_on(client: Either, fleet: Fleet, raw: redis.Redis) -> None:
    held = await client("enqueue", Job("x", "app.add", (1, 2)))
    assert await client("pause", function="app.add", by="ann", reason="a bug") is True
    assert await client("pause", function="app.add", by="bob") is False
    other = await client("enqueue", Job("x", "app.flaky", (0,)))
    await run_once(fleet)

    assert (await client("poll", other)).status is JobStatus.COMPLETED
    assert (await client("poll", held)).status is JobStatus.QUEUED
    (queue,) = [one for one in await client("queues") if one.name == "default"]
    assert (queue.paused, queue.queued) == (None, 1)
    assert [(one.function, one.by, one.reason) for one in queue.paused_functions] == [("app.add", "ann", "a bug")]

    assert await client("resume", function="app.add") is True
    assert await client("resume", function="app.add") is False
    await run_once(fleet)

    assert (await client("poll", held)).status is JobStatus.COMPLETED
    assert raw.hgetall(LANE.conf) == {}


async def test_a_function_is_paused_in_one_queue_or_in_all(client: Either, fleet: Fleet) -> None:
    jobs = [Job("x", "app.add", (1, 2), queue=queue) for queue in ("default", "mail")]
    first, second = [await client("enqueue", job) for job in jobs]
    assert await client("pause", "mail", function="app.add") is True
    await run_once(fleet)
    await asyncio.to_thread(fleet.run_worker, burst=True, queues=["mail"])

    assert (await client("poll", first)).status is JobStatus.COMPLETED
    assert (await client("poll", second)).status is JobStatus.QUEUED

    assert await client("pause", function="app.add") is True, "it was open in the other queue"
    assert {len(row.paused_functions) for row in await client("queues")} == {1}
    assert await client("resume", function="app.add") is True
    assert {len(row.paused_functions) for row in await client("queues")} == {0}


async def test_more_than_a_page_is_put_back_and_what_is_paused_still_stays(
    client: Either, fleet: Fleet, raw: redis.Redis
) -> None:
    jobs = [Job("x", ("app.add", "app.flaky")[n % 2], (n, 0)[: 2 - n % 2], priority=n % 4) for n in range(260)]  # type: ignore[arg-type]
    receipts = await client.all("enqueue_many", jobs)
    for function in ("app.add", "app.flaky"):
        await client("pause", function=function)
    await run_once(fleet)
    assert sum(raw.zcount(band, 7 * 10**15, 9 * 10**15) for band in LANE.ready) == 260

    await client("resume", function="app.add")

    assert sum(raw.zcount(band, 7 * 10**15, 9 * 10**15) for band in LANE.ready) == 130
    await run_once(fleet)
    statuses = [(await client("poll", receipt.id)).status for receipt in receipts]
    assert statuses == [JobStatus.COMPLETED, JobStatus.QUEUED] * 130


async def test_what_cannot_be_read_here_is_put_back_so_that_it_is_never_stuck(
    client: Either, fleet: Fleet, raw: redis.Redis
) -> None:
    held = await client("enqueue", Job("x", "app.add", (1, 2)))
    await client("pause", function="app.add")
    await run_once(fleet)
    raw.set(LANE.job(held), b"\xff of a later version")

    await client("resume", function="app.add")

    assert raw.zcount(LANE.ready[2], "-inf", 7 * 10**15) == 1


async def test_what_is_withheld_is_listed_filtered_and_purged_as_queued(client: Either, fleet: Fleet) -> None:
    held = [await client("enqueue", Job("x", "app.add", (1, 2), user="ann")) for _ in range(3)]
    later = await client("enqueue", Job("x", "app.add", (1, 2), delay=60))
    await client("pause", function="app.add")
    await run_once(fleet)

    for chosen in ({"status": JobStatus.QUEUED}, {"user": "ann", "status": JobStatus.QUEUED}):
        assert {row.id for row in (await client("jobs", **chosen)).jobs} == set(held)
    assert [row.id for row in (await client("jobs", status=JobStatus.SCHEDULED)).jobs] == [later]
    assert await client("count_open", status=JobStatus.QUEUED) == 3
    assert await client("reschedule_many", user="ann", priority=3) == 3
    assert {(await client("poll", job_id)).status for job_id in held} == {JobStatus.QUEUED}
    pages = [row.id for row in (await client("jobs", status=JobStatus.QUEUED, limit=2)).jobs]
    assert len(pages) == 2
    assert await client("purge_queue", "default") == 4


async def test_a_moved_job_is_due_when_it_was(client: Either, fleet: Fleet) -> None:
    held = await client("enqueue", Job("x", "app.add", (1, 2)))
    due = (await client("poll", held)).scheduled_at
    await client("pause", function="app.add")
    await run_once(fleet)

    moved = await client("move", held, "mail")

    assert (await client("poll", moved)).scheduled_at == due
    assert (await client("poll", moved)).status is JobStatus.QUEUED


@each(
    "arguments, options, error, text",
    [
        ((), {}, ConfigError, "give a queue, a function, or both"),
        (("no queue",), {"function": "app.add"}, InvalidJob, "queue is 'no queue'"),
        ((), {"function": "app add"}, InvalidJob, "function is 'app add'"),
    ],
)
@each("verb", ["pause", "resume"])
async def test_what_names_nothing_is_refused(
    client: Either, verb: str, arguments: Any, options: Any, error: type[Exception], text: str
) -> None:
    await client("enqueue", Job("x", "app.add", (1, 2)))

    with pytest.raises(error, match=text):
        await client(verb, *arguments, **options)


async def test_a_resume_of_a_queue_that_is_not_known_is_refused(client: Either) -> None:
    with pytest.raises(ConfigError, match="No queue 'mial'"):
        await client("resume", "mial", function="app.add")


@pytest.mark.parametrize("options", [{}, {"group": "acme"}, {"function": "app.add"}])
async def test_a_pause_is_set_before_the_first_job_of_a_queue(
    client: Either, fleet: Fleet, options: dict[str, Any]
) -> None:
    assert await client("pause", "mail", by="ann", **options) is True
    held = await client("enqueue", Job("x", "app.add", (1, 2), queue="mail", group="acme"))

    await run_once(fleet)
    assert (await client("poll", held)).status is JobStatus.QUEUED
    assert await client("resume", "mail", **options) is True
    await asyncio.to_thread(fleet.run_worker, burst=True, queues=["mail"])

    assert (await client("poll", held)).result == 3


async def test_a_queue_that_comes_into_being_later_has_it_paused_too(client: Either, fleet: Fleet) -> None:
    assert await client("pause", function="app.add", by="ann", reason="a bug") is True
    held = await client("enqueue", Job("x", "app.add", (1, 2)))
    await run_once(fleet)

    assert (await client("poll", held)).status is JobStatus.QUEUED
    assert await client("pause", function="app.add") is False
    paused = {row.name: row.paused_functions for row in await client("queues")}
    assert [(one.by, one.reason) for one in paused["default"]] == [("ann", "a bug")]
    with pytest.raises(ConfigError, match="is paused in every queue; resume it without naming one"):
        await client("resume", "default", function="app.add")

    assert await client("resume", function="app.add") is True
    await run_once(fleet)
    assert (await client("poll", held)).status is JobStatus.COMPLETED


async def test_too_many_are_refused(client: Either) -> None:
    await client("enqueue", Job("x", "app.add", (1, 2)))
    for number in range(64):
        await client("pause", function=f"f{number}")

    with pytest.raises(ConfigError, match="Too many functions"):
        await client("pause", function="one.more")


async def test_the_reason_of_a_paused_queue_is_kept_and_told(client: Either) -> None:
    job_id = await client("enqueue", Job("x", "app.add", (1, 2)))
    assert await client("pause", "default", by="ann", reason="Redis moves @ noon.") is True

    (queue,) = await client("queues")
    told = (await client("explain", job_id)).reasons[0]

    assert (queue.paused, queue.paused_reason) == ("ann", "Redis moves @ noon.")
    assert told.text.endswith("ago (Redis moves @ noon); 'jobfleet queues resume default' opens it.")
    assert told.facts["reason"] == "Redis moves @ noon."


async def test_a_job_that_waits_is_explained_before_anybody_has_claimed_it(client: Either) -> None:
    job_id = await client("enqueue", Job("x", "app.add", (1, 2), delay=60))
    await client("pause", function="app.add", by="ann")

    codes = [reason.code for reason in (await client("explain", job_id)).reasons]

    assert codes == ["scheduled", "paused-function", "unknown-function", "unserved"]
