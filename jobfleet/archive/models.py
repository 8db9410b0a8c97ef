"""The archive's tables as SQLAlchemy models; migrations/ creates them.

Columns have the names of `JobResult`, except names that SQL reserves, such as `user_name`. The
texts that jobs are described with, such as the user, are rows of `jobfleet.model.fields`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Float, Index, Integer, LargeBinary, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from jobfleet.model.fields import FIELDS

Json: JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Moment(TypeDecorator[datetime]):
    """A time with a zone, in every database. SQLite stores UTC without a zone."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = DateTime(timezone=True)
    cache_ok: bool | None = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a value for the database."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert a value from the database to UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _where(condition: str) -> dict[str, Any]:
    """Arguments of an index over the rows that meet a condition."""
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


class Base(DeclarativeBase):
    """Base class of the models."""


class JobModel(Base):
    """A job: its description and its current or final state.

    Attributes:
        seq: Number of the last event in this row; an earlier event never overwrites a later one.
        envelope: The call with its arguments, as it was enqueued or last edited.
    """

    __tablename__ = "jobfleet_jobs"
    __table_args__: tuple[Index, ...] = (
        Index("ix_jobfleet_jobs_status", "namespace", "status", "enqueued_at"),
        Index("ix_jobfleet_jobs_function", "namespace", "function", "enqueued_at"),
        Index("ix_jobfleet_jobs_completed", "namespace", "completed_at"),
    )

    namespace: Mapped[str] = mapped_column(String(100), primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(20))
    queue: Mapped[str] = mapped_column(Text)
    function: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    priority: Mapped[int | None] = mapped_column(Integer)
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
    envelope: Mapped[bytes | None] = mapped_column(LargeBinary)


def _add_texts() -> None:
    """Add the columns of the texts of `FIELDS` to the table of jobs, with their indexes."""
    columns = JobModel.__table__.columns
    for field in FIELDS:
        if field.kind is str:
            setattr(JobModel, field.column, mapped_column(Text, nullable=True))
        if field.archive_index:
            indexed = (columns[name] for name in ("namespace", *field.archive_index))
            Index(f"ix_jobfleet_jobs_{field.name}", *indexed, **_where(f"{field.column} IS NOT NULL"))


_add_texts()


class JobResultModel(Base):
    """The outcome of a job.

    Attributes:
        result: The return value as JSON; parts that JSON lacks are texts.
        record: The return value in jobfleet's own encoding, without loss.
        duration: Duration of the last run, in seconds.
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
    """A run of a job, identified by its fencing token.

    Attributes:
        attempt: Number of the attempt, from 1. A run that was released has the number of the next run.
        status: running, completed, failed, retried, released, parked, withheld, cancelled or expired.
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


class JobLifeModel(Base):
    """A line of the life of a job: one of its runs, or something that was done to it. A job that runs once has none.

    Attributes:
        at_us: The time of the line, in µs since 1970; of a run, its end.
        word: The first word of the line, which says what it is about; see `JobDetails.history`.
        text: What happened.
    """

    __tablename__ = "jobfleet_life"

    namespace: Mapped[str] = mapped_column(String(100), primary_key=True)
    job_id: Mapped[str] = mapped_column(Text, primary_key=True)
    at_us: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    word: Mapped[str] = mapped_column(Text, primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class AuditModel(Base):
    """An action of an operator; see `AuditEntry`.

    Attributes:
        position: Place of the record in the stream of Redis; the record of the end of an action has a later one.
        number: How many things it concerned.
        before: The values before it, and `after` those that it set; NULL with encryption.
        head: The record as Redis had it; `body` has the values, maybe sealed.
    """

    __tablename__ = "jobfleet_audit"
    __table_args__: tuple[Index, ...] = (Index("ix_jobfleet_audit_position", "namespace", "position"),)

    namespace: Mapped[str] = mapped_column(String(100), primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    by_name: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    target: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    number: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)
    before: Mapped[dict[str, Any] | None] = mapped_column(Json)
    after: Mapped[dict[str, Any] | None] = mapped_column(Json)
    head: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class JobTagModel(Base):
    """A tag of a job, to search by."""

    __tablename__ = "jobfleet_tags"
    __table_args__: tuple[Index, ...] = (Index("ix_jobfleet_tags_job", "namespace", "job_id"),)

    namespace: Mapped[str] = mapped_column(String(100), primary_key=True)
    tag: Mapped[str] = mapped_column(Text, primary_key=True)
    job_id: Mapped[str] = mapped_column(Text, primary_key=True)


class JobSampleModel(Base):
    """What was counted of a series in an hour.

    Attributes:
        series: The name of the series; an empty one marks the hours that were sampled.
        hour: The hour, counted since 1970.
        point: The point, in jobfleet's own encoding.
    """

    __tablename__ = "jobfleet_samples"
    __table_args__: tuple[Index, ...] = (Index("ix_jobfleet_samples_hour", "namespace", "hour"),)

    namespace: Mapped[str] = mapped_column(String(100), primary_key=True)
    series: Mapped[str] = mapped_column(Text, primary_key=True)
    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    point: Mapped[bytes] = mapped_column(LargeBinary)
