"""Turns rows of the archive into a `JobResult`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobfleet.archive.models import JobModel, JobResultModel
from jobfleet.codec import Limits, is_record, open_record
from jobfleet.codec.record import is_sealed
from jobfleet.errors import EncodingError
from jobfleet.model import ErrorType, JobResult, JobStatus

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

_SEALED = " sealed"
"""Marks a record that cannot be opened here; no field of a record has this name."""


def shown(job: JobModel, end: JobResultModel | None, limits: Limits, seals: Seals | None = None) -> JobResult[Any]:
    """A job of the archive as a `JobResult`.

    Args:
        job: The row of the job.
        end: The row of its result; None if the job is open.
        limits: Limits of a result's size and depth.
        seals: Opens sealed records; None without keys.
    """
    status = JobStatus(job.status)
    if end is not None and (not status.is_final or end.status != job.status):
        end = None  # from before a replay
    record = _record(job.id, end, limits, seals)
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
        result=_value(end, record) if status is JobStatus.COMPLETED and end is not None else None,
        error=record.get("error") or job.error,
        enqueued_at=job.enqueued_at,
        scheduled_at=job.scheduled_at,
        started_at=job.started_at,
        completed_at=job.completed_at,
        attempt=job.attempt or 0,
        retry_count=job.retry_count or 0,
        worker=job.worker,
        fence=job.fence,
        cancel_requested_by=job.cancel_requested_by,
        **_ending(end, record),
        **described,
    )


def _ending(end: JobResultModel | None, record: Mapping[str, Any]) -> dict[str, Any]:
    if end is None:
        return {}
    return {
        "error_type": ErrorType(end.error_type) if end.error_type else None,
        "error_class": end.error_class,
        "traceback": end.traceback or record.get("traceback"),
        "duration": None if end.duration is None else timedelta(seconds=end.duration),
    }


def _record(job_id: str, end: JobResultModel | None, limits: Limits, seals: Seals | None) -> Mapping[str, Any]:
    """The fields of a record, as far as they can be read; without keys, those of a sealed one except its value."""
    if end is None or not end.record:
        return {}
    stored = end.record if seals is None else seals.open_record(job_id, end.record, end.status)
    try:
        return open_record(stored, limits=limits)
    except EncodingError:
        return {_SEALED: True} if is_record(end.record) and is_sealed(end.record) else {}


def _value(end: JobResultModel, record: Mapping[str, Any]) -> object:
    """The return value without loss if it can be decoded, else as JSON; None if it is sealed and cannot be opened."""
    if "value" in record or _SEALED in record:
        return record.get("value")
    return end.result
