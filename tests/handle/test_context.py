"""What a job's function is given, and what its handle and its events are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobfleet import InvalidJob, JobCancelled, JobContext, JobExpired, JobFailed, JobResult, JobStatus, ProgressCallback
from jobfleet.events import Event, read_events
from jobfleet.handle.base import outcome_of

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
US = 1_772_366_400_000_000


class Port:
    """A port of which somebody may ask to stop."""

    def __init__(self, cancel_by: str | None = None) -> None:
        self.cancel_by = cancel_by
        self.must_stop = cancel_by and f"cancelled by {cancel_by}"
        self.reports: list[Any] = []

    def report(self, *report: Any) -> None:
        self.reports.append(report)


# Context


def test_a_context_for_a_test_needs_nothing() -> None:
    ctx = JobContext.for_test()

    assert (ctx.attempt, ctx.fence, ctx.worker, ctx.user, ctx.tags, ctx.cancelled) == (1, 0, "", None, (), False)
    assert ctx.job_id == f"default.0.{ctx.job.suffix}"
    ctx.log.info("it works")


def test_a_context_for_a_test_takes_what_matters() -> None:
    ctx = JobContext.for_test(attempt=3, user="ann", tags=("eu",), metadata={"k": 1}, fence=7)

    assert (ctx.attempt, ctx.user, ctx.tags, ctx.metadata, ctx.fence) == (3, "ann", ("eu",), {"k": 1}, 7)


def test_progress_goes_to_the_worker() -> None:
    port = Port()
    ctx = JobContext.for_test(port=port)

    ctx.progress(0)
    ctx.progress(0.5, "half", {"rows": 7})
    ctx.progress(1)

    assert port.reports == [(0.0, "", None), (0.5, "half", {"rows": 7}), (1.0, "", None)]
    assert isinstance(ctx.progress, ProgressCallback)


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), 50])
def test_progress_beyond_its_bounds_is_refused(value: float) -> None:
    port = Port()

    with pytest.raises(ValueError, match=r"^progress is .*; give a number from 0\.0 to 1\.0\.$"):
        JobContext.for_test(port=port).progress(value)

    assert port.reports == []


def test_progress_of_a_cancelled_job_is_kept_and_stops_it() -> None:
    port = Port(cancel_by="ann")
    ctx = JobContext.for_test(port=port, job_id="mail.0.x")

    with pytest.raises(JobCancelled) as caught:
        ctx.progress(0.5)

    assert (str(caught.value), caught.value.job_id) == ("mail.0.x is to stop: cancelled by ann.", "mail.0.x")
    assert ctx.cancelled
    assert port.reports == [(0.5, "", None)]


# How a job ended


def test_the_value_of_a_completed_job_is_its_outcome() -> None:
    assert outcome_of(JobResult(id="mail.0.x", status=JobStatus.COMPLETED, result=30)) == 30


def test_a_result_may_be_made_with_its_type() -> None:
    assert JobResult[int](id="mail.0.x", status=JobStatus.COMPLETED, result=30).result == 30


@pytest.mark.parametrize(
    ("status", "error", "kind", "text"),
    [
        (JobStatus.FAILED, "KeyError: 'k'", JobFailed, "mail.0.x failed: KeyError: 'k'"),
        (JobStatus.CANCELLED, "cancelled by ann", JobCancelled, "mail.0.x was cancelled by ann."),
        (JobStatus.CANCELLED, None, JobCancelled, "mail.0.x was cancelled."),
        (JobStatus.EXPIRED, "not started in time", JobExpired, "mail.0.x expired: not started in time."),
    ],
)
def test_any_other_end_is_raised(status: JobStatus, error: str | None, kind: type[Exception], text: str) -> None:
    result: JobResult[Any] = JobResult(
        id="mail.0.x", status=status, error=error, error_class="KeyError", traceback="Traceback …"
    )

    with pytest.raises(kind) as caught:
        outcome_of(result)

    facts = {"job_id": "mail.0.x"}
    if kind is JobFailed:
        facts |= {"error_class": "KeyError", "traceback": "Traceback …"}
    assert (str(caught.value), vars(caught.value)) == (text, facts)


# Events on the wire


def test_the_event_of_a_stage_names_it() -> None:
    (event,) = read_events(f"1 stopping mail.0.x 7 3 {US} raised and more")

    assert event == Event("stopping", "mail.0.x", 7, 3, AT, "raised")


def test_a_message_is_one_event_a_line() -> None:
    message = f"1 claimed mail.0.x 7 0 {US}\n1 completed mail.0.x 7 1000000 {US} more words"

    assert read_events(message) == [
        Event("claimed", "mail.0.x", 7, 0, AT),
        Event("completed", "mail.0.x", 7, 1_000_000, AT),
    ]


@pytest.mark.parametrize(
    "line", ["", "1", "2 claimed mail.0.x 7 0 5", "1 claimed mail.0.x x 0 5", "1 claimed mail.0.x 7 0", "1 a b 1 1 -5"]
)
def test_a_line_that_is_not_of_this_version_is_passed_over(line: str) -> None:
    assert read_events(f"{line}\n1 claimed mail.0.x 7 0 {US}") == [Event("claimed", "mail.0.x", 7, 0, AT)]


@pytest.mark.parametrize("at", ["²", "9" * 30])
def test_a_hostile_line_is_passed_over_too(at: str) -> None:
    assert read_events(f"1 claimed mail.0.x 7 0 {at}") == []


def test_a_context_asks_its_worker_for_more_time() -> None:
    ctx = JobContext.for_test()

    ctx.extend(5)
    ctx.extend(timedelta(minutes=1))

    assert ctx.port.extended == 65.0  # type: ignore[attr-defined]  # the port of a test remembers
    with pytest.raises(InvalidJob):
        ctx.extend(-1)
