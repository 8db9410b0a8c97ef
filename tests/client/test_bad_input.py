"""What cannot be meant is refused by name, by both clients alike, and changes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobfleet import Job
from jobfleet.errors import ConfigError, InvalidJob, WaitTimeout
from tests.client.either import Either

IS_NO_ID = "job_id is {!r}; give a text, as in handle.id."
IS_NO_TIME = "timeout is {!r}; give seconds (0 or more, at most 100 years) or a timedelta."
STATUSES = "blocked, scheduled, queued, running, retrying, completed, failed, cancelled, expired"


@pytest.mark.parametrize("verb", ["poll", "wait", "cancel", "explain", "replay", "purge"])
@pytest.mark.parametrize("job_id", [5, None, b"mail.0.x"])
async def test_an_id_that_is_no_text_is_refused(client: Either, verb: str, job_id: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        await client(verb, job_id)

    assert (str(caught.value), caught.value.field) == (IS_NO_ID.format(job_id), "job_id")


async def test_a_listener_with_an_id_that_is_no_text_is_refused(client: Either) -> None:
    with pytest.raises(InvalidJob, match=r"^job_id is 5; "):
        await client.all("events", 5)


@pytest.mark.parametrize("timeout", [-1, "5", True, float("nan"), timedelta(-1)])
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


@pytest.mark.parametrize(
    ("options", "told"),
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
    with pytest.raises(ConfigError, match=r"^cursor is 5; give the one that the page before answered\.$"):
        await client("jobs", cursor=5)


async def test_a_status_may_be_given_as_its_text(client: Either) -> None:
    job_id = await client("enqueue", Job("n", "app.add", (1, 2)))

    page = await client("jobs", status="queued")

    assert [job.id for job in page.jobs] == [job_id]


@pytest.mark.parametrize(
    ("verb", "options"), [("dead", {"limit": -1}), ("pending", {"limit": -1}), ("ended", {"limit": "x"})]
)
async def test_the_other_listings_refuse_such_limits_too(client: Either, verb: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match=r"^limit is .*; give a whole number from 0\.$"):
        await client(verb, **options)


@pytest.mark.parametrize("sample", [-1, "x"])
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
