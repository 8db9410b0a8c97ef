"""Row 7: `JobResult` and its fields."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobfleet import ErrorType, Fleet, Job, JobStatus, enqueue, wait
from tests.support.fleet import LONG, Programs


def test_all_fields_of_a_job_that_was_retried(fleet: Fleet, programs: Programs, tmp_path: Path) -> None:
    programs.ready("seeds")
    begun = datetime.now(UTC) - timedelta(seconds=1)
    job = Job(
        name="Moments", function="seed.moments", args=(str(tmp_path / "moments"), 1), retry_delay=0.05, user="ann"
    )

    result = wait(enqueue(job), timeout=LONG)

    assert (result.status, result.result, result.error, result.retry_count) == (JobStatus.COMPLETED, 2, None, 1)
    assert (result.progress, result.progress_message, result.progress_details) == (1.0, "", None)
    assert result.started_at is not None
    assert result.completed_at is not None
    assert result.duration is not None
    assert begun < result.started_at <= result.completed_at < datetime.now(UTC) + timedelta(seconds=1)
    assert timedelta() <= result.duration <= result.completed_at - result.started_at + timedelta(seconds=1)
    assert (result.function, result.name, result.queue, result.user) == ("seed.moments", "Moments", "default", "ann")


def test_all_fields_of_a_job_that_failed(fleet: Fleet, programs: Programs) -> None:
    programs.ready("seeds")

    result = wait(enqueue(Job(name="Raise", function="seed.raise", args=("ValueError",))), timeout=LONG)

    assert (result.status, result.result, result.error) == (JobStatus.FAILED, None, "no luck")
    assert (result.error_type, result.error_class) == (ErrorType.PERMANENT, "ValueError")
    assert "raise_" in (result.traceback or "")


def test_all_fields_of_progress(fleet: Fleet, programs: Programs, tmp_path: Path) -> None:
    programs.ready("seeds")
    (tmp_path / "gate").touch()

    result = wait(enqueue(Job(name="Compute", function="seed.compute", args=(str(tmp_path / "gate"),))), timeout=LONG)

    assert (result.progress, result.progress_message, result.progress_details) == (1.0, "Done", {"rows": 14})
