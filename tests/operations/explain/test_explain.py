"""`explain`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
import redis

from jobfleet import Job, JobStatus, Priority
from jobfleet.model.result import ReasonCode
from tests.client.either import Either, finished
from tests.client.lines import wait_in_line
from tests.support.each import each

Work = Callable[[], Awaitable[None]]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


async def codes(client: Either, job_id: str) -> list[str]:
    return [reason.code for reason in (await client("explain", job_id)).reasons]


async def test_a_job_in_a_fleet_without_workers_is_explained(client: Either) -> None:
    [job_id] = await wait_in_line(client, "a")
    await client("pause", "default", by="ann")

    told = await client("explain", job_id)

    assert (told.id, told.status, told.function, told.queue) == (job_id, JobStatus.QUEUED, "app.add", "default")
    assert abs((datetime.now(UTC) - told.at).total_seconds()) < 60
    assert [reason.code for reason in told.reasons] == ["paused", "unknown-function", "unserved"]


async def test_what_every_worker_knows_waits_for_no_publication(client: Either) -> None:
    await client("enqueue", Job("Cleanup", "jobfleet.maintenance.cleanup", cron_expression="@daily"))
    job_id = await finished(client.fleet.cron.run, "Cleanup")

    assert await codes(client, job_id) == ["unserved"]


async def test_those_ahead_are_counted_by_urgency(client: Either) -> None:
    await wait_in_line(client, "a", "b", priority=Priority.CRITICAL)
    await wait_in_line(client, "c", priority=Priority.LOW)
    ids = await wait_in_line(client, "d", "e")

    facts = {reason.code: reason.facts for reason in (await client("explain", ids[1])).reasons}

    assert facts[ReasonCode.BEHIND] == {"ahead": 3, "more_urgent": 2, "same": 1}


async def test_jobs_that_have_ended_are_explained(client: Either, work: Work) -> None:
    good, gone = await wait_in_line(client, "a", "b")
    await client("cancel", gone, by="ann")
    bad = await client("enqueue", Job("Fail", "app.fail", ("no luck",)))
    moved = (await wait_in_line(client, "c", delay=60))[0]
    await client("move", moved, "bulk")
    await work()

    assert [await codes(client, job_id) for job_id in (good, gone, bad, moved)] == [
        ["completed"], ["cancelled"], ["failed"], ["moved"],
    ]  # fmt: skip
    [reason] = (await client("explain", bad)).reasons
    assert (reason.facts["run"], reason.facts["error_class"]) == (1, "RuntimeError")


@each("job_id", ["default.0.zzz", "nonsense"])
async def test_an_unknown_job_is_explained_as_such(client: Either, job_id: str) -> None:
    told = await client("explain", job_id)

    assert (told.id, told.status, await codes(client, job_id)) == (job_id, None, ["unknown"])


async def test_a_job_whose_envelope_is_lost_is_explained_all_the_same(client: Either, raw: redis.Redis) -> None:
    [job_id] = await wait_in_line(client, "a")
    raw.delete(f"{{jobfleet:default:0}}:job:{job_id}")

    assert "unserved" in await codes(client, job_id)
