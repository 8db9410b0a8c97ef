"""`JobRepository`: queries of the archive, and the deletion of old jobs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, Unpack

from sqlalchemy import ColumnElement, Engine, Select, and_, delete, func, or_, select, tuple_
from sqlalchemy.orm import Session

from jobfleet.archive.models import JobAttemptModel, JobLifeModel, JobModel, JobResultModel, JobTagModel
from jobfleet.archive.schema import open_engine
from jobfleet.archive.writer import OWNERS, as_json, forget_job
from jobfleet.codec import DEFAULT, Limits, is_record, open_record, seal_record
from jobfleet.codec.frames import is_sealed
from jobfleet.codec.seals import Seals
from jobfleet.errors import ConfigError, EncodingError
from jobfleet.model import STORED, ErrorType, JobResult, JobStatus, seconds
from jobfleet.model.fields import FIELDS, FILTER_NAMES, FILTERS, Field, FilterTexts
from jobfleet.model.status import check_moment, check_number, check_text, read_status

FINAL = tuple(status for status in JobStatus if status.is_final)
OPEN = tuple(status for status in STORED if not status.is_final)
CHUNK = 1000
IDS_AT_ONCE = 500
"""Ids per query."""
BY_HAND = 0
"""Event number of a state that `save` wrote; every event of the journal has a higher one and overwrites it."""


class JobRepository:
    """The archive of a fleet. A context manager; `close` releases the connections.

    Args:
        database: URL of the database, or an engine.
        namespace: Namespace of the fleet; default ``jobfleet``.
        limits: Limits of a result's size and depth.
        seals: Opens results that are signed or encrypted; None without keys.

    Raises:
        ConfigError: `database` is neither a URL nor an engine, or its kind is not supported.

    Example:
        >>> with JobRepository("sqlite:///jobs.db") as archive:
        ...     failed = archive.search(status="failed", function="mail.send", limit=10)
    """

    def __init__(
        self,
        database: str | Engine,
        *,
        namespace: str = "jobfleet",
        limits: Limits = DEFAULT,
        seals: Seals | None = None,
    ) -> None:
        if not isinstance(database, Engine | str):
            raise ConfigError(f"database is {database!r:.100}; give a URL or an engine.")
        self._is_mine = isinstance(database, str)
        self.engine: Engine = open_engine(database) if isinstance(database, str) else database
        self.namespace = namespace
        self._limits = limits
        self._seals = None if seals is None else seals.of_archive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless the engine was passed in."""
        if self._is_mine:
            self.engine.dispose()

    # --------------------------------------------------------------------------------- one job

    def get(self, job_id: str) -> JobResult[Any] | None:
        """Return a job; None if the archive does not have it.

        Args:
            job_id: Id of the job.
        """
        with Session(self.engine) as session:
            job = session.get(JobModel, (self.namespace, job_id))
            if job is None:
                return None
            return shown(job, session.get(JobResultModel, (self.namespace, job_id)), self._limits, self._seals)

    def envelope(self, job_id: str) -> bytes:
        """Return the envelope of a job, with its arguments; empty if the archive does not have it.

        Args:
            job_id: Id of the job.
        """
        with Session(self.engine) as session:
            job = session.get(JobModel, (self.namespace, job_id))
            stored = b"" if job is None else job.envelope or b""
        return self._seals.open_envelope(job_id, stored) if stored and self._seals is not None else stored

    def get_many(self, ids: Sequence[str]) -> list[JobResult[Any] | None]:
        """Return several jobs in the order of `ids`; None for each that the archive does not have.

        Args:
            ids: Ids of the jobs.
        """
        known: dict[str, JobResult[Any]] = {}
        for at in range(0, len(ids), IDS_AT_ONCE):
            keys = [(self.namespace, job_id) for job_id in ids[at : at + IDS_AT_ONCE]]
            asked = select(JobModel).where(tuple_(JobModel.namespace, JobModel.id).in_(keys))
            known.update((job.id, job) for job in self._shown(asked))
        return [known.get(job_id) for job_id in ids]

    def attempts(self, job_id: str) -> list[JobAttemptModel]:
        """Return the runs of a job, oldest first.

        Args:
            job_id: Id of the job.
        """
        asked = (
            select(JobAttemptModel)
            .where(JobAttemptModel.namespace == self.namespace, JobAttemptModel.job_id == job_id)
            .order_by(JobAttemptModel.fence)
        )
        with Session(self.engine, expire_on_commit=False) as session:
            return list(session.scalars(asked))

    def life(self, job_id: str) -> tuple[str, ...]:
        """Return the lines of a job's life, oldest first, in the form of `JobDetails.history`.

        Args:
            job_id: Id of the job.
        """
        asked = (
            select(JobLifeModel.word, JobLifeModel.at_us, JobLifeModel.text)
            .where(JobLifeModel.namespace == self.namespace, JobLifeModel.job_id == job_id)
            .order_by(JobLifeModel.at_us)
        )
        with Session(self.engine) as session:
            return tuple(f"{word} {at} {text}" if text else f"{word} {at}" for word, at, text in session.execute(asked))

    def save(self, job: JobResult[Any]) -> bool:
        """Write the state of a job.

        Args:
            job: The state, as `Fleet.poll` returns it.

        Returns:
            False, and nothing is written, if the archive has the job from the journal.
        """
        with Session(self.engine) as session, session.begin():
            known = session.get(JobModel, (self.namespace, job.id))
            if known is not None and known.seq > BY_HAND:
                return False
            session.merge(_job_row(self.namespace, job))
            if job.status.is_final:
                session.merge(_result_row(self.namespace, job))
            for tag in sorted(set(job.tags)):
                session.merge(JobTagModel(namespace=self.namespace, tag=tag, job_id=job.id))
        return True

    def forget(self, job_id: str) -> bool:
        """Delete a job with its result, its attempts and its tags. `Fleet.forget` erases it in Redis, too.

        Args:
            job_id: Id of the job.

        Returns:
            Whether there was anything to delete.
        """
        with self.engine.begin() as connection:
            return forget_job(connection, self.namespace, job_id)

    # --------------------------------------------------------------------------------- many

    def get_pending_jobs(self, limit: int = 100, *, queue: str | None = None) -> list[JobResult[Any]]:
        """Return the jobs that are open in the archive, oldest first.

        Args:
            limit: Most jobs to return; default 100.
            queue: Only jobs of this queue; default all.
        """
        check_number(limit, least=0)
        asked = self._chosen(status=OPEN, queue=queue).order_by(JobModel.enqueued_at, JobModel.id).limit(limit)
        return self._shown(asked)

    def search(
        self,
        *,
        status: JobStatus | Collection[JobStatus] | None = None,
        queue: str | None = None,
        function: str | None = None,
        name: str | None = None,
        tag: str | None = None,
        group: str | None = None,
        text: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        offset: int = 0,
        **texts: Unpack[FilterTexts],
    ) -> list[JobResult[Any]]:
        """Return the jobs that meet all given conditions, newest first.

        Args:
            status: A status, or several of which one must match.
            queue: Name of the queue.
            function: Name of the function on the wire.
            name: The label of the jobs.
            tag: A tag of the jobs.
            group: The group of the jobs.
            text: A part of the id, the name or the error of the jobs, in any case of its letters. The database reads
                every job that meets the other conditions.
            since: Jobs enqueued at this time or later.
            until: Jobs enqueued before this time.
            limit: Most jobs to return; default 100.
            offset: Number of the newest jobs to skip; default 0.
            texts: The free texts of the jobs, such as `user` and `session`; see `FilterTexts`.

        Raises:
            InvalidJob: A condition is not valid; `field` names it.
        """
        check_number(limit, least=0)
        check_number(offset, field="offset", least=0)
        for text_name in texts:
            if text_name not in FILTER_NAMES:
                raise TypeError(f"There is no filter {text_name!r}; the texts are {', '.join(FILTER_NAMES)}.")
        asked = self._chosen(
            status=status, queue=queue, function=function, name=name, tag=tag, group=group, text=text, since=since,
            until=until, **texts,
        )  # fmt: skip
        newest = asked.order_by(JobModel.enqueued_at.desc(), JobModel.id.desc())
        return self._shown(newest.limit(limit).offset(offset))

    def statistics(self, since: datetime | None = None) -> dict[str, Any]:
        """Return counts of jobs in total and by status, queue, function and user, the mean duration and success rate.

        Args:
            since: Count only jobs enqueued at this time or later; default all.
        """
        where = self._where(since=since)
        with Session(self.engine) as session:

            def counts(column: Any) -> dict[str, int]:
                rows = session.execute(select(column, func.count()).where(where).group_by(column))
                return {str(name): int(count) for name, count in rows if name is not None}

            by_status = counts(JobModel.status)
            joined = and_(JobResultModel.namespace == JobModel.namespace, JobResultModel.id == JobModel.id)
            average = session.scalar(
                select(func.avg(JobResultModel.duration))
                .join(JobModel, joined)
                .where(where, JobModel.status == JobStatus.COMPLETED.value)
            )
            done, failed = by_status.get("completed", 0), by_status.get("failed", 0)
            return {
                "total": sum(by_status.values()),
                **{status.value: by_status.get(status.value, 0) for status in STORED},
                "by_queue": counts(JobModel.queue),
                "by_function": counts(JobModel.function),
                **{f"by_{field.name}": counts(_column(field)) for field in FIELDS if field.is_counted},
                "average_duration": None if average is None else float(average),
                "success_rate": done / (done + failed) if done + failed else None,
            }

    def prune(self, older_than: timedelta | float, *, status: Collection[JobStatus] = FINAL) -> int:
        """Delete old jobs with their results, attempts and tags.

        Args:
            older_than: Least time since the job ended, as a timedelta or in seconds.
            status: Only jobs with these final statuses; default all. Open jobs are never deleted.

        Returns:
            The number of deleted jobs.

        Raises:
            InvalidJob: `older_than` is negative, or there is no such status.
        """
        where = self._ended(older_than, status)
        old = select(JobModel.id).where(where).order_by(JobModel.completed_at).limit(CHUNK)
        gone = 0
        while True:  # one transaction per chunk, so that none is long
            with Session(self.engine) as session, session.begin():
                ids = list(session.scalars(old))
                for table, column in OWNERS:
                    session.execute(delete(table).where(table.namespace == self.namespace, column.in_(ids)))
            gone += len(ids)
            if len(ids) < CHUNK:
                return gone

    def count_ended(self, older_than: timedelta | float, *, status: Collection[JobStatus] = FINAL) -> int:
        """Return the number of jobs that `prune` would delete. The arguments are those of `prune`."""
        with Session(self.engine) as session:
            where = self._ended(older_than, status)
            return session.scalar(select(func.count()).select_from(JobModel).where(where)) or 0

    def latest(self) -> datetime | None:
        """Return the time of the latest event in the archive; None if the archive is empty."""
        with Session(self.engine) as session:
            return session.scalar(select(func.max(JobModel.updated_at)).where(self._where()))

    # --------------------------------------------------------------------------------- inside

    def _ended(self, older_than: timedelta | float, status: Collection[JobStatus]) -> ColumnElement[bool]:
        age = timedelta(seconds=seconds(older_than, field="older_than"))
        return and_(
            JobModel.namespace == self.namespace,
            JobModel.completed_at < datetime.now(UTC) - age,
            JobModel.status.in_([one.value for one in _states(status) if one.is_final]),
        )

    def _shown(self, asked: Select[tuple[JobModel]]) -> list[JobResult[Any]]:
        with Session(self.engine) as session:
            jobs = list(session.scalars(asked))
            keys = [(self.namespace, job.id) for job in jobs if JobStatus(job.status).is_final]
            ends: dict[str, JobResultModel] = {}
            for at in range(0, len(keys), IDS_AT_ONCE):
                found = select(JobResultModel).where(
                    tuple_(JobResultModel.namespace, JobResultModel.id).in_(keys[at : at + IDS_AT_ONCE])
                )
                ends.update((end.id, end) for end in session.scalars(found))
            return [shown(job, ends.get(job.id), self._limits, self._seals) for job in jobs]

    def _chosen(self, **given: Any) -> Select[tuple[JobModel]]:
        return select(JobModel).where(self._where(**given))

    def _where(
        self,
        *,
        status: JobStatus | Collection[JobStatus] | None = None,
        tag: str | None = None,
        text: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        **named: str | None,
    ) -> ColumnElement[bool]:
        conditions: list[ColumnElement[bool]] = [JobModel.namespace == self.namespace]
        if status is not None:
            conditions.append(JobModel.status.in_([one.value for one in _states(status)]))
        for name, value in {**named, "tag": tag, "text": text}.items():
            if value is not None:
                check_text(value, field=name)
        conditions += [_NAMED[name] == value for name, value in named.items() if value is not None]
        if tag is not None:
            tagged = select(JobTagModel.job_id).where(JobTagModel.namespace == self.namespace, JobTagModel.tag == tag)
            conditions.append(JobModel.id.in_(tagged))
        if text is not None:
            conditions.append(or_(*(column.icontains(text, autoescape=True) for column in _TEXTS)))
        for name, moment in (("since", since), ("until", until)):
            if moment is not None:
                check_moment(moment, field=name)
        if since is not None:
            conditions.append(JobModel.enqueued_at >= since)
        if until is not None:
            conditions.append(JobModel.enqueued_at < until)
        return and_(*conditions)


def _states(given: JobStatus | Collection[JobStatus]) -> list[JobStatus]:
    """The statuses, given as one or several, as members or as their texts."""
    return [read_status(one) for one in ((given,) if isinstance(given, str) else given)]


def _column(field: Field) -> Any:
    return getattr(JobModel, field.column)


_NAMED: dict[str, Any] = {
    "queue": JobModel.queue,
    "function": JobModel.function,
    "name": JobModel.name,
    "group": _column(next(field for field in FIELDS if field.name == "group")),
    **{field.name: _column(field) for field in FILTERS},
}
_TEXT_FIELDS = tuple(field for field in FIELDS if field.kind is str)
_TEXTS = (JobModel.id, JobModel.name, JobModel.error)
"""What a text is looked for in."""


def _job_row(namespace: str, job: JobResult[Any]) -> JobModel:
    return JobModel(
        namespace=namespace, id=job.id, seq=BY_HAND, status=job.status.value, queue=job.queue, function=job.function,
        name=job.name, **{field.column: getattr(job, field.name) for field in _TEXT_FIELDS}, tags=list(job.tags),
        job_metadata=dict(job.metadata), enqueued_at=job.enqueued_at,
        scheduled_at=job.scheduled_at, started_at=job.started_at, completed_at=job.completed_at,
        updated_at=datetime.now(UTC), attempt=job.attempt, retry_count=job.retry_count, worker=job.worker,
        fence=job.fence, error=job.error, cancel_requested_by=job.cancel_requested_by, moved_to=job.moved_to,
    )  # fmt: skip


def _result_row(namespace: str, job: JobResult[Any]) -> JobResultModel:
    return JobResultModel(
        namespace=namespace,
        id=job.id,
        seq=BY_HAND,
        status=job.status.value,
        result=None if job.result is None else json.loads(as_json(job.result)),
        record=_record(job),
        error=job.error,
        error_type=job.error_type.value if job.error_type else None,
        error_class=job.error_class,
        traceback=job.traceback,
        duration=None if job.duration is None else job.duration.total_seconds(),
    )


def _record(job: JobResult[Any]) -> bytes | None:
    runs = {"runs": job.runs} if job.runs > job.attempt else {}
    try:
        return seal_record({"value": job.result, **runs})
    except EncodingError:
        return None


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
    record = _read_record(job.id, end, limits, seals)
    described: dict[str, Any] = {
        "function": job.function or "",
        "name": job.name or job.function or "",
        "queue": job.queue,
        **{field.name: getattr(job, field.column) for field in _TEXT_FIELDS},
        "tags": tuple(job.tags or ()),
        "metadata": job.job_metadata or {},
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
        runs=record.get("runs", job.attempt or 0),
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


def _read_record(job_id: str, end: JobResultModel | None, limits: Limits, seals: Seals | None) -> Mapping[str, Any]:
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
