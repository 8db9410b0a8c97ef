"""`reschedule`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus, Priority
from jobfleet.errors import ConfigError, InvalidJob, JobNotFound
from tests.client.either import Either, finished
from tests.client.lines import SOON, bands, start, wait_in_line
from tests.support.each import each

NAMES = "'critical', 'high', 'normal', 'low'"
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


async def test_a_job_is_put_off_brought_forward_and_made_urgent(client: Either, raw: redis.Redis) -> None:
    [job_id] = await wait_in_line(client, "a")

    assert await client("reschedule", job_id, at=SOON, by="ann") is True
    later = await client("poll", job_id)
    assert (later.status, later.scheduled_at) == (JobStatus.SCHEDULED, SOON)

    assert await client("reschedule", job_id, priority=Priority.CRITICAL) is True
    assert (await client("poll", job_id)).scheduled_at == SOON
    assert bands(raw) == {"CRITICAL": ["a"]}

    assert await client("reschedule", job_id, delay=timedelta(0)) is True
    assert (await client("poll", job_id)).status is JobStatus.QUEUED


async def test_a_naive_time_is_this_machines(client: Either) -> None:
    [job_id] = await wait_in_line(client, "a")

    await client("reschedule", job_id, at=SOON.astimezone().replace(tzinfo=None))

    assert (await client("poll", job_id)).scheduled_at == SOON


async def test_a_job_that_runs_or_has_ended_is_not_rescheduled(client: Either, fleet: Fleet) -> None:
    running, gone = await wait_in_line(client, "a", "b")
    await client("cancel", gone)
    start(fleet, running)

    assert await client("reschedule", running, delay=0) is False
    assert await client("reschedule", gone, delay=0) is False
    with pytest.raises(JobNotFound):
        await client("reschedule", "default.0.zzz", delay=0)


@each(
    "change, message",
    [
        ({}, "Nothing to change; give at, delay or priority."),
        ({"at": SOON, "delay": 1}, "at and delay are both given; give one."),
        ({"at": "soon"}, "at is 'soon'; give a datetime."),
        (
            {"at": datetime(2190, 1, 1, tzinfo=UTC)},
            "at is datetime.datetime(2190, 1, 1, 0, 0, tzinfo=datetime.timezone.utc); give a time before 2190.",
        ),
        ({"delay": -1}, "delay is -1; give seconds (0 or more, at most 100 years) or a timedelta."),
        (
            {"priority": 9},
            f"priority is 9; use Priority.LOW … CRITICAL. Their names are taken, too: {NAMES}.",
        ),
    ],
)
async def test_a_change_that_cannot_be_is_refused(client: Either, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        await client("reschedule", "default.0.a", **change)

    assert str(caught.value) == message


async def test_a_handle_reschedules_and_explains_its_job(client: Either) -> None:
    handle = await client("handle_of", Job("Sum", "app.add", (1, 2)))

    assert await finished(handle.reschedule, at=SOON, priority="low") is True
    told = await finished(handle.explain)

    assert (told.id, told.status) == (handle.id, JobStatus.SCHEDULED)


# By filter


async def fill(client: Either) -> None:
    await wait_in_line(client, *[f"t{n:03}" for n in range(130)], tags=("eu",))
    await wait_in_line(client, *[f"o{n:03}" for n in range(70)], user="ann")
    await wait_in_line(client, "other", queue="mail", tags=("eu",), delay=60)


async def test_all_that_a_filter_means_are_rescheduled_and_no_others(client: Either, raw: redis.Redis) -> None:
    await fill(client)

    assert await client("reschedule_many", tags=["eu"], delay=3600, dry_run=True) == 131
    assert len(bands(raw)["NORMAL"]) == 200
    assert (await client("poll", "default.0.t000")).status is JobStatus.QUEUED

    assert await client("reschedule_many", tags=["eu"], delay=3600, by="ann") == 131

    rows = (await client("jobs", status=JobStatus.SCHEDULED, limit=500)).jobs
    assert sorted(row.id for row in rows) == sorted([f"default.0.t{n:03}" for n in range(130)] + ["mail.0.other"])
    assert len({row.scheduled_at for row in rows if row.queue == "default"}) == 1
    assert len((await client("jobs", status=JobStatus.QUEUED, limit=500)).jobs) == 70


async def test_a_priority_by_filter_meets_each_job_once(client: Either, raw: redis.Redis) -> None:
    await fill(client)
    await wait_in_line(client, "urgent", priority=Priority.CRITICAL, user="ann")

    assert await client("reschedule_many", user="ann", priority=Priority.HIGH) == 71
    assert await client("reschedule_many", user="ann", priority=Priority.HIGH) == 0

    standing = bands(raw)
    assert sorted(standing["HIGH"]) == sorted([f"o{n:03}" for n in range(70)] + ["urgent"])
    assert len(standing["NORMAL"]) == 130


async def test_both_by_filter_find_all_that_stand_at_one_moment(client: Either, raw: redis.Redis) -> None:
    await wait_in_line(client, *[f"t{n:03}" for n in range(120)], tags=("eu",), scheduled_at=SOON)
    await wait_in_line(client, *[f"o{n:03}" for n in range(120)], scheduled_at=SOON)

    change = {"at": SOON + timedelta(hours=1), "priority": Priority.LOW}
    assert await client("reschedule_many", tags=["eu"], **change) == 120
    assert await client("reschedule_many", tags=["eu"], **change) == 0

    assert {name: len(standing) for name, standing in bands(raw).items()} == {"LOW": 120, "NORMAL": 120}


async def test_what_a_filter_can_name(client: Either) -> None:
    await wait_in_line(client, "a", tags=("eu",), user="ann")
    await wait_in_line(client, "b", tags=("eu", "x"), user="bob", delay=60)
    await client("enqueue", Job("Steps", "app.steps", (1,), user="ann", tags=("eu",)))

    async def count(**chosen: Any) -> int:
        return int(await client("reschedule_many", delay=0, dry_run=True, **chosen))

    assert [await count(tags=["eu"]), await count(tags=("eu", "x")), await count(tags="e")] == [3, 1, 0]
    assert [await count(user="ann"), await count(user="ann", queue="bulk"), await count(queue="bulk")] == [2, 1, 1]
    assert [await count(function="app.add"), await count(function="app.add", user="bob")] == [2, 1]
    assert [await count(status=JobStatus.SCHEDULED), await count(status=JobStatus.RUNNING)] == [1, 0]


@each("verb", ["reschedule_many", "move_many"])
async def test_a_filter_that_means_every_job_is_refused(client: Either, verb: str) -> None:
    args, change = ((), {"delay": 0}) if verb == "reschedule_many" else (("bulk",), {})
    await wait_in_line(client, "a")

    with pytest.raises(ConfigError, match="Nothing says which jobs are meant; give tags, queue"):
        await client(verb, *args, **change)
    with pytest.raises(ConfigError, match="No queue 'mial'; there are: default"):
        await client(verb, *args, queue="mial", **change)


async def test_a_due_time_before_1970_is_at_once(client: Either) -> None:
    [job_id] = await wait_in_line(client, "a", delay=3600)

    assert await client("reschedule", job_id, at=datetime(1960, 1, 1, tzinfo=UTC)) is True

    assert (await client("poll", job_id)).status is JobStatus.QUEUED
