from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from jobfleet import JobResult, JobStatus
from jobfleet.clock import local
from jobfleet.panels.words import clock, facts


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_time_has_its_offset_and_its_date_if_that_is_not_today() -> None:
    now = datetime.now(UTC)
    later = now + timedelta(days=2)

    assert clock(None) == ""
    assert clock(now) in (local(now)[11:], local(now))  # midnight may pass in between
    assert clock(later) == local(later)
    assert local(now)[-6:] in ("+01:00", "+02:00")


def test_a_job_that_is_due_another_day_shows_the_day() -> None:
    due = datetime(2031, 3, 1, 7, 0, tzinfo=UTC)
    job: JobResult[None] = JobResult(id="default.0.x", status=JobStatus.SCHEDULED, scheduled_at=due)

    assert facts(job) == "due 2031-03-01 08:00:00 +01:00"
