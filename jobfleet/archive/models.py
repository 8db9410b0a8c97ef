"""The archive's tables as SQLAlchemy models; migrations/ makes them.

Columns have the names of `JobResult`, but for those that SQL has taken: `user_name`, `session_id`, `group_name`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Float, Index, Integer, LargeBinary, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Moment(TypeDecorator[datetime]):
    """A time with its zone, in every database: SQLite keeps UTC without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _where(condition: str) -> dict[str, Any]:
    """An index over some rows only."""
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


class Base(DeclarativeBase):
    """What the models share."""


class JobModel(Base):
    """A job: what it is, and where it stands or how it ended.

    Attributes:
        seq: The number of the last event that it tells of; an earlier one never overwrites a later.
        envelope: The call as it was enqueued, or last edited, arguments and all.
    """

    __tablename__ = "jobfleet_jobs"
    __table_args__ = (
        Index("ix_jobfleet_jobs_status", "namespace", "status", "enqueued_at"),
        Index("ix_jobfleet_jobs_function", "namespace", "function", "enqueued_at"),
        Index("ix_jobfleet_jobs_completed", "namespace", "completed_at"),
        Index("ix_jobfleet_jobs_user", "namespace", "user_name", "enqueued_at", **_where("user_name IS NOT NULL")),
        Index("ix_jobfleet_jobs_session", "namespace", "session_id", **_where("session_id IS NOT NULL")),
    )

    namespace: Mapped[str] = mapped_column(String(100), primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(20))
    queue: Mapped[str] = mapped_column(Text)
    function: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    priority: Mapped[int | None] = mapped_column(Integer)
    user_name: Mapped[str | None] = mapped_column(Text)
    session_id: Mapped[str | None] = mapped_column(Text)
    correlation_id: Mapped[str | None] = mapped_column(Text)
    group_name: Mapped[str | None] = mapped_column(Text)
    unique_key: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str] | None] = mapped_column(Json)
    job_metadata: Mapped[dict[str, Any] | None] = mapped_column("metadata", Json)
    enqueued_at: Mapped[datetime | None] = mapped_column(Moment)
    scheduled_at: Mapped[datetime | None] = mapped_column(Moment)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    completed_at: Mapped[datetime | None] = mapped_column(Moment)
    updated_at: Mapped[datetime | None] = mapped_column(Moment)
    attempt: Mapped[int | None] = mapped_column(Integer)
    retry_count: Mapped[int | None] = mapped_column(Integer)
    worker: Mapped[str | None] = mapped_column(Text)
    fence: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)
    cancel_requested_by: Mapped[str | None] = mapped_column(Text)
    moved_to: Mapped[str | None] = mapped_column(Text)
    moved_from: Mapped[str | None] = mapped_column(Text)
    envelope: Mapped[bytes | None] = mapped_column(LargeBinary)


class JobResultModel(Base):
    """How a job ended.

    Attributes:
        result: What it returned, as JSON can say it; `record` has it as it was.
        duration: Seconds.
    """

    __tablename__ = "jobfleet_results"

    namespace: Mapped[str] = mapped_column(String(100), primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(20))
    result: Mapped[Any | None] = mapped_column(Json)
    error: Mapped[str | None] = mapped_column(Text)
    error_type: Mapped[str | None] = mapped_column(String(20))
    error_class: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)
    duration: Mapped[float | None] = mapped_column(Float)
    record: Mapped[bytes | None] = mapped_column(LargeBinary)


class JobAttemptModel(Base):
    """A run of a job, known by its fence.

    Attributes:
        attempt: Which attempt it was, from 1; runs that were given back bear the number of the next.
        status: running, or how it ended: completed, failed, retried, released, parked, withheld, cancelled, expired.
    """

    __tablename__ = "jobfleet_attempts"

    namespace: Mapped[str] = mapped_column(String(100), primary_key=True)
    job_id: Mapped[str] = mapped_column(Text, primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    attempt: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(20))
    worker: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    error: Mapped[str | None] = mapped_column(Text)


class JobTagModel(Base):
    """A tag of a job, so that jobs are found by it."""

    __tablename__ = "jobfleet_tags"
    __table_args__ = (Index("ix_jobfleet_tags_job", "namespace", "job_id"),)

    namespace: Mapped[str] = mapped_column(String(100), primary_key=True)
    tag: Mapped[str] = mapped_column(Text, primary_key=True)
    job_id: Mapped[str] = mapped_column(Text, primary_key=True)
