"""Row 1: `Job` with all that it takes; frozen, and checked with clear errors."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobStatus, Priority, enqueue, wait
from tests.support.fleet import LONG, Programs


def test_a_job_with_all_of_it_reaches_its_function(fleet: Fleet, programs: Programs) -> None:
    programs.ready("seeds")
    parent = enqueue(Job(name="Sum", function="seed.add", args=[1], kwargs={"y": 2}))
    job = Job(
        name="Look around",
        function="seed.told",
        args=(),
        kwargs={},
        priority=Priority.HIGH,
        scheduled_at=datetime.now(UTC) + timedelta(seconds=0.2),
        depends_on=[parent],
        metadata={"origin": "test", "rows": 7},
        tags=["eu", "nightly"],
        max_retries=7,
        retry_delay=2.5,
        retry_backoff=3.0,
        retry_jitter=False,
    )

    result = wait(enqueue(job), timeout=LONG)

    assert (result.status, result.tags, result.metadata) == (
        JobStatus.COMPLETED, ("eu", "nightly"), {"origin": "test", "rows": 7},
    )  # fmt: skip
    assert result.result == {
        "name": "Look around", "user": None, "tags": ["eu", "nightly"], "metadata": {"origin": "test", "rows": 7},
        "session": None, "correlation_id": None, "attempt": 1, "max_retries": 7, "retry_delay": 2.5,
        "retry_backoff": 3.0, "retry_jitter": False,
    }  # fmt: skip
    assert result.started_at is not None
    assert job.scheduled_at is not None
    assert result.started_at >= job.scheduled_at


def test_a_cron_expression_is_taken(fleet: Fleet) -> None:
    enqueue(Job(name="Nightly", function="seed.told", cron_expression="0 2 * * *"))

    assert [(entry.name, entry.cron.expression) for entry in fleet.cron()] == [("Nightly", "0 2 * * *")]


def test_priorities_are_the_four_and_in_order() -> None:
    assert [priority.name for priority in sorted(Priority)] == ["LOW", "NORMAL", "HIGH", "CRITICAL"]


def test_it_cannot_be_changed() -> None:
    job = Job(name="x", function="seed.add")

    with pytest.raises(FrozenInstanceError):
        job.name = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"name": ""}, "name", "name is ''; give a printable label of 1 to 200 characters."),
        ({"function": "no name"}, "function", "function"),
        ({"args": "abc"}, "args", "args is 'abc'; give a list or tuple of arguments."),
        ({"kwargs": [1]}, "kwargs", r"kwargs is [1]; give a mapping of names to arguments."),
        ({"priority": 17}, "priority", "priority is 17; use Priority.LOW … CRITICAL."),
        ({"scheduled_at": "tomorrow"}, "scheduled_at", "scheduled_at is 'tomorrow'; give a datetime."),
        ({"max_retries": -1}, "max_retries", "max_retries is -1; give a whole number, 0 or more."),
        ({"retry_delay": "soon"}, "retry_delay", "retry_delay is 'soon'; give seconds"),
        ({"retry_backoff": 0.5}, "retry_backoff", "retry_backoff is 0.5; give a factor from 1 to 100."),
        ({"retry_jitter": "yes"}, "retry_jitter", "retry_jitter is 'yes'; give True or False."),
        ({"tags": "eu"}, "tags", "tags is 'eu'; give a list of at most 20 texts."),
        ({"metadata": 7}, "metadata", "metadata is 7; give a mapping with text keys."),
        ({"depends_on": "x"}, "depends_on", "depends_on is 'x'; give a list of ids or handles."),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        Job(**{"name": "x", "function": "seed.add", **options})

    assert caught.value.field == field
    assert message in str(caught.value)
