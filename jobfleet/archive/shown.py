"""Turns rows of the archive into a `JobResult`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from jobfleet.archive.models import JobModel, JobResultModel
from jobfleet.codec import Limits, open_record
from jobfleet.errors import EncodingError
from jobfleet.model import ErrorType, JobResult, JobStatus


def shown(job: JobModel, end: JobResultModel | None, limits: Limits) -> JobResult[Any]:
    """A job of the archive as a `JobResult`.

    Args:
        job: The row of the job.
        end: The row of its result; None if the job is open.
        limits: Limits of a result's size and depth.
    """
    status = JobStatus(job.status)
    if end is not None and (not status.is_final or end.status != job.status):
        end = None  # from before a replay
    described: dict[str, Any] = {
        "function": job.function or "",
        "name": job.name or job.function or "",
        "queue": job.queue,
        "user": job.user_name,
        "session": job.session_id,
        "group": job.group_name,
        "correlation_id": job.correlation_id,
        "unique": job.unique_key,
        "tags": tuple(job.tags or ()),
        "metadata": job.job_metadata or {},
        "moved_from": job.moved_from,
        "moved_to": job.moved_to,
    }
    return JobResult(
        id=job.id,
        status=status,
        result=_value(end, limits) if status is JobStatus.COMPLETED and end is not None else None,
        error=job.error,
        enqueued_at=job.enqueued_at,
        scheduled_at=job.scheduled_at,
        started_at=job.started_at,
        completed_at=job.completed_at,
        attempt=job.attempt or 0,
        retry_count=job.retry_count or 0,
        worker=job.worker,
        fence=job.fence,
        cancel_requested_by=job.cancel_requested_by,
        **_ending(end),
        **described,
    )


def _ending(end: JobResultModel | None) -> dict[str, Any]:
    if end is None:
        return {}
    return {
        "error_type": ErrorType(end.error_type) if end.error_type else None,
        "error_class": end.error_class,
        "traceback": end.traceback,
        "duration": None if end.duration is None else timedelta(seconds=end.duration),
    }


def _value(end: JobResultModel, limits: Limits) -> object:
    """The return value without loss if it can be decoded, else as JSON."""
    if end.record:
        try:
            return open_record(end.record, limits=limits).get("value")
        except EncodingError:
            pass
    return end.result
