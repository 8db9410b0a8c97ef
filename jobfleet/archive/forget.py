"""Erase one job from the archive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select

from jobfleet.archive.models import JobAttemptModel, JobModel, JobResultModel, JobTagModel

OWNERS: Sequence[tuple[Any, Any]] = (
    (JobTagModel, JobTagModel.job_id),
    (JobAttemptModel, JobAttemptModel.job_id),
    (JobResultModel, JobResultModel.id),
    (JobModel, JobModel.id),
)
"""The tables with rows of a job, and the column with its id."""


def forget_job(connection: Connection, namespace: str, job_id: str, *, upto: int | None = None) -> bool:
    """Delete a job with its result, its attempts and its tags; return whether there was anything.

    Args:
        connection: A connection within a transaction.
        namespace: Namespace of the fleet.
        job_id: Id of the job.
        upto: Number of the latest event that is erased: a job that was enqueued again after it stays. None for any.
    """
    # The row of the job is locked first, as by a writer, so that the two cannot deadlock.
    row = select(JobModel.seq).where(JobModel.namespace == namespace, JobModel.id == job_id).with_for_update()
    seq = connection.scalar(row)
    if upto is not None and seq is not None and seq > upto:
        return False
    gone = 0
    for table, column in OWNERS:
        gone += connection.execute(delete(table).where(table.namespace == namespace, column == job_id)).rowcount
    return gone > 0
