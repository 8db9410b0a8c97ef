"""From the archive's rows to a `JobResult`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from jobfleet.archive.models import JobModel, JobResultModel
from jobfleet.codec import Limits, open_record
from jobfleet.errors import EncodingError
from jobfleet.model import ErrorType, JobResult, JobStatus


def shown(job: JobModel, end: JobResultModel | None, limits: Limits) -> JobResult[Any]:
    """A job as the archive knows it.

    Args:
        job: Its row.
        end: How it ended; None of one that is open.
        limits: Bounds of a result.
    """
    status = JobStatus(job.status)
    if end is not None and (not status.is_final or end.status != job.status):
        end = None  # of an earlier life: it was replayed since
    described: dict[str, Any] = {
        "function": job.function or "",
        "name": job.name or job.function or "",
        "queue": job.queue,
        "user": job.user_name,
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
    """What it returned: as it was, else as JSON could say it."""
    if end.record:
        try:
            return open_record(end.record, limits=limits).get("value")
        except EncodingError:
            pass
    return end.result
