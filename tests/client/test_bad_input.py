"""What cannot be meant is refused by name, and changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobfleet import Cron, Fleet, Flow, Job
from jobfleet.errors import ConfigError, InvalidJob, WaitTimeout
from tests.client.conftest import awaited as client
from tests.client.either import Either
from tests.support.each import each

__all__ = ["client"]  # a fixture

IS_NO_ID = "job_id is {!r}; give a text, such as handle.id."
IS_NO_TIME = "timeout is {!r}; give seconds (0 or more, at most 100 years) or a timedelta."
STATUSES = (
    "blocked, scheduled, queued, running, retrying, completed, failed, cancelled, expired, parked, awaiting, sleeping"
)


@each("verb", ["poll", "wait", "cancel", "explain", "replay", "purge"])
@each("job_id", [5, None, b"mail.0.x"])
async def test_an_id_that_is_no_text_is_refused(client: Either, verb: str, job_id: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        await client(verb, job_id)

    assert (str(caught.value), caught.value.field) == (IS_NO_ID.format(job_id), "job_id")


async def test_a_listener_with_an_id_that_is_no_text_is_refused(client: Either) -> None:
    with pytest.raises(InvalidJob, match=r"^job_id is 5; "):
        await client.all("events", 5)


@each("timeout", [-1, "5", True, float("nan"), timedelta(-1)])
async def test_a_timeout_that_is_no_duration_is_refused(client: Either, timeout: Any) -> None:
    job_id = await client("enqueue", Job("n", "app.add", (1, 2)))

    with pytest.raises(InvalidJob) as caught:
        await client("wait", job_id, timeout=timeout)

    shown = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    assert str(caught.value) == IS_NO_TIME.format(shown)


async def test_a_timeout_may_be_a_timedelta(client: Either) -> None:
    job_id = await client("enqueue", Job("n", "app.add", (1, 2)))

    with pytest.raises(WaitTimeout) as caught:
        await client("wait", job_id, timeout=timedelta(milliseconds=10))

    assert (caught.value.job_id, caught.value.timeout) == (job_id, 0.01)


@each(
    "options, told",
    [
        ({"tags": [5]}, "tags is 5; give a text that is not empty."),
        ({"tags": ""}, "tags is ''; give a text that is not empty."),
        ({"user": ""}, "user is ''; give a text that is not empty."),
        ({"session": 5}, "session is 5; give a text that is not empty."),
        ({"function": ""}, "function is ''; give a text that is not empty."),
        ({"status": "done"}, f"status is 'done'; give one of {STATUSES}."),
        ({"limit": 0}, "limit is 0; give a whole number from 1."),
        ({"limit": "x"}, "limit is 'x'; give a whole number from 1."),
        ({"limit": True}, "limit is True; give a whole number from 1."),
    ],
)
async def test_a_listing_of_what_cannot_be_is_refused(client: Either, options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        await client("jobs", **options)

    assert (str(caught.value), caught.value.field) == (told, next(iter(options)))


async def test_a_cursor_that_is_no_text_is_refused(client: Either) -> None:
    with pytest.raises(ConfigError, match=r"^cursor is 5; give the cursor of the previous page\.$"):
        await client("jobs", cursor=5)


async def test_a_status_may_be_given_as_its_text(client: Either) -> None:
    job_id = await client("enqueue", Job("n", "app.add", (1, 2)))

    page = await client("jobs", status="queued")

    assert [job.id for job in page.jobs] == [job_id]


@each("verb, options", [("dead", {"limit": -1}), ("pending", {"limit": -1}), ("ended", {"limit": "x"})])
async def test_the_other_listings_refuse_such_limits_too(client: Either, verb: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match=r"^limit is .*; give a whole number from 0\.$"):
        await client(verb, **options)


@each("sample", [-1, "x"])
async def test_a_sample_of_less_than_nothing_is_refused(client: Either, sample: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^sample is .*; give a whole number from 0\.$"):
        await client("statistics", sample=sample)


async def test_who_and_why_are_texts(client: Either) -> None:
    job_id = await client("enqueue", Job("n", "app.add", (1, 2)))

    with pytest.raises(InvalidJob, match=r"^by is 5; give a text, or leave it out\.$"):
        await client("cancel", job_id, by=5)
    with pytest.raises(InvalidJob, match=r"^reason is 5; give a text, or leave it out\.$"):
        await client("pause", "default", reason=5)

    queue = next(queue for queue in await client("queues") if queue.name == "default")
    assert (queue.queued, queue.paused) == (1, None)


NO_JOB = "job is {}; give a Job, or the result of send.job(…)."


@each("given", [5, None, "app.add"])
async def test_what_is_no_job_is_not_enqueued(client: Either, given: Any) -> None:
    for verb in ("enqueue", "submit"):
        with pytest.raises(InvalidJob) as caught:
            await client(verb, given)
        assert (str(caught.value), caught.value.field) == (NO_JOB.format(repr(given)), "job")

    with pytest.raises(InvalidJob, match=r"^job is "):
        await client.all("enqueue_many", [given])
    assert await client("queues") == []


@each("chunk", [1.5, None, "x", True])
async def test_a_chunk_that_is_no_number_is_refused_at_once(client: Either, chunk: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^chunk is .*; give a whole number\.$"):
        client.fleet.enqueue_many([], chunk=chunk)


@each("jobs", [5, "app.add", None])
async def test_what_holds_no_jobs_is_refused_at_once(client: Either, jobs: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^jobs is .*; give an iterable of Jobs\.$"):
        client.fleet.enqueue_many(jobs)


def test_a_flow_holds_jobs_and_knows_its_own() -> None:
    flow, made = Flow("f"), Job("n", "app.add")
    for name in ("", 5, "a\nb"):
        with pytest.raises(InvalidJob, match=r"^name is .*; give a printable label"):
            Flow(name)  # type: ignore[arg-type]
    with pytest.raises(InvalidJob, match=r"^job is 5; give a Job"):
        flow.add(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidJob, match=r"^after is 7; give a result of add, or several of them\.$"):
        flow.add(made, after=7)  # type: ignore[arg-type]
    with pytest.raises(InvalidJob, match=r"^after holds 'x'; give a result of add\.$"):
        flow.add(made, after=["x"])  # type: ignore[list-item]


def test_what_is_no_flow_is_not_enqueued(fleet: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^flow is 5; give a Flow\.$"):
        fleet.flows.enqueue(5)


def test_what_is_no_job_does_not_recur(fleet: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^job is None; give a Job"):
        fleet.cron.add("x", Cron("* * * * *"), None)


def test_a_recurring_job_ends_after_it_starts() -> None:
    with pytest.raises(InvalidJob, match=r"^end is .*, before start \(.*\); give a later time\.$") as caught:
        Cron("* * * * *", start=datetime(2030, 1, 1, tzinfo=UTC), end=datetime(2029, 1, 1, tzinfo=UTC))

    assert caught.value.field == "end"


async def test_who_commands_workers_is_a_text(client: Either) -> None:
    with pytest.raises(InvalidJob, match=r"^by is 5; give a text, or leave it out\.$"):
        await client("command_workers", ["w1"], "quiet", by=5)


@each("older_than", [-1, "7d", float("inf"), float("nan"), None])
async def test_an_age_that_is_no_duration_is_refused(client: Either, older_than: Any) -> None:
    await client("enqueue", Job("n", "app.add", (1, 2)))

    with pytest.raises(InvalidJob, match=r"^older_than is "):
        await client("clean", older_than)


@each("limit", [-1, "x", True, None])
async def test_a_limit_of_flows_or_fires_that_is_no_number_is_refused(fleet: Fleet, limit: Any) -> None:
    fleet.cron.add("nightly", "0 2 * * *", Job("n", "app.add", (1, 2)))

    for listing in (fleet.flows, lambda limit: fleet.cron.history("nightly", limit=limit)):
        with pytest.raises(InvalidJob, match=r"^limit is .*; give a whole number from 0\.$"):
            listing(limit=limit)


def test_no_flows_and_no_fires_are_listed_when_none_is_asked_for(fleet: Fleet, raw: redis.Redis) -> None:
    flow = Flow("f")
    flow.add(Job("n", "app.add", (1, 2)))
    fleet.flows.enqueue(flow)
    fleet.cron.add("nightly", "0 2 * * *", Job("n", "app.add", (1, 2)))
    raw.zadd("{jobfleet}:cron-ledger:nightly", {"4000000 fired - 4000000": 4})

    assert (fleet.flows(limit=0), fleet.cron.history("nightly", limit=0)) == ([], [])


@each("tail", [-1, "x", True])
async def test_a_tail_that_is_no_number_is_refused(client: Either, tail: Any) -> None:
    job_id = await client("enqueue", Job("n", "app.add", (1, 2)))

    with pytest.raises(InvalidJob, match=r"^tail is .*; give a whole number from 0\.$"):
        await client.all("logs", job_id, tail=tail)


@each(
    "ids, options, told",
    [
        ("w1", {}, "ids = 'w1': give a list of the ids of workers."),
        (["w1"], {"timeout": "5"}, "timeout = '5': give seconds, 0 or more."),
        (["w1"], {"timeout": -1}, "timeout = -1: give seconds, 0 or more."),
        (["w1"], {"grace": "5"}, "grace = '5': give seconds, 0 or more."),
        (["w1"], {"grace": -1}, "grace = -1: give seconds, 0 or more."),
    ],
)
async def test_a_command_that_cannot_be_meant_is_refused(
    client: Either, ids: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        await client("command_workers", ids, "stop", **options)

    assert str(caught.value) == told


async def test_a_text_is_not_a_list_of_ids(client: Either) -> None:
    with pytest.raises(InvalidJob, match=r"^ids is 'mail.0.x'; give a list of ids\.$"):
        await client("poll_many", "mail.0.x")


async def test_tags_that_are_no_list_are_refused(client: Either) -> None:
    with pytest.raises(InvalidJob, match=r"^tags is 5; give a list of texts\.$"):
        await client("jobs", tags=5)
