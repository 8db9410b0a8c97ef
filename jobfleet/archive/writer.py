"""Writes a batch of journal events: one transaction, one statement per table. Erases a job."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from jobfleet.archive.batch import Folded, Row, fold
from jobfleet.archive.models import JobAttemptModel, JobLifeModel, JobModel, JobResultModel, JobTagModel
from jobfleet.codec import Limits
from jobfleet.codec.seals import Seals
from jobfleet.model.fields import FIELDS
from jobfleet.secret import Redaction
from jobfleet.store.journal import Event

log: logging.Logger = logging.getLogger("jobfleet.archive")

AWAY = (DBAPIError,)
"""Errors of a database that is unreachable or not set up. Unless the rows are at fault, the events must be kept."""

_ROWS_AT_FAULT = ("22", "23", "54")
"""Classes of PostgreSQL's error codes that blame the rows: data, integrity, limits such as that of an index entry."""


class Writer:
    """Writes into one archive.

    Args:
        engine: The database.
        namespace: Namespace of the fleet.
        limits: Limits of a result's size and depth.
        seals: Checks signed records; None without keys.
        redaction: Hides values of the columns in JSON by their keys.
    """

    def __init__(
        self,
        engine: Engine,
        namespace: str,
        limits: Limits,
        seals: Seals | None = None,
        redaction: Redaction | None = None,
    ) -> None:
        self._engine = engine
        self._namespace = namespace
        self._limits = limits
        self._seals = seals
        self._redaction = Redaction() if redaction is None else redaction
        dialect = engine.dialect.name
        self._jobs = upsert("jobfleet_jobs", JOBS, dialect)
        self._results = upsert("jobfleet_results", RESULTS, dialect)
        self._attempts = upsert("jobfleet_attempts", ATTEMPTS, dialect)
        self._tags = upsert("jobfleet_tags", TAGS, dialect)
        self._life = upsert("jobfleet_life", LIFE, dialect)

    def write(self, events: Sequence[Event]) -> int:
        """Write events in one transaction. Safe to repeat, and in any order.

        If the database refuses the row of a job, that job is logged and left out; the others are written.

        Args:
            events: Events of the journal.

        Returns:
            The number of jobs in these events.

        Raises:
            DBAPIError: The database is unreachable, or lacks tables or rights. Nothing was written.
        """
        folded = fold(events, self._limits, self._seals)
        for rows, column in ((folded.jobs, "metadata"), (folded.results, "result")):
            for row in rows.values():
                if row.get(column) is not None:
                    row[column] = self._redaction(row[column])
        if folded.jobs or folded.forgotten or folded.life:
            try:
                self._write(folded)
            except (DBAPIError, OverflowError, ValueError, TypeError) as error:
                if not _is_at_fault(error):
                    raise
                self._write_each(folded)
        return len(folded.jobs)

    def _write(self, folded: Folded) -> None:
        jobs = [row for _, row in sorted(folded.jobs.items())]  # in a fixed order, so that writers cannot deadlock
        tags = [{"tag": tag, "job_id": row["id"]} for row in jobs for tag in sorted(set(row.get("tags") or ()))]
        with self._engine.begin() as connection:
            for job_id, seq in sorted(folded.forgotten.items()):
                forget_job(connection, self._namespace, job_id, upto=seq)
            self._run(connection, self._jobs, jobs)
            self._run(connection, self._results, [row for _, row in sorted(folded.results.items())])
            self._run(connection, self._attempts, [row for _, row in sorted(folded.attempts.items())])
            self._run(connection, self._tags, tags)
            self._run(connection, self._life, [row for _, row in sorted(folded.life.items())])

    def _run(self, connection: Connection, statement: Upsert, rows: Sequence[Row]) -> None:
        if rows:
            arguments: Any = statement.arguments(self._namespace, rows)
            connection.exec_driver_sql(statement.sql, arguments)

    def _write_each(self, folded: Folded) -> None:
        """Write job by job, so that a refused job does not keep the others out."""
        self._write(Folded(forgotten=folded.forgotten))
        for job_id in dict.fromkeys((*folded.jobs, *(key[0] for key in folded.life))):
            alone = Folded({job_id: folded.jobs[job_id]} if job_id in folded.jobs else {})
            if job_id in folded.results:
                alone.results[job_id] = folded.results[job_id]
            alone.attempts = {key: row for key, row in folded.attempts.items() if key[0] == job_id}
            alone.life = {key: row for key, row in folded.life.items() if key[0] == job_id}
            try:
                self._write(alone)
            except (DBAPIError, OverflowError, ValueError, TypeError) as error:
                if not _is_at_fault(error):
                    raise
                log.error("archive.refused job_id=%s %s", job_id, str(error).split("\n", 1)[0])


def _is_at_fault(error: Exception) -> bool:
    """Whether the rows caused the error, and not the database."""
    if not isinstance(error, DBAPIError) or isinstance(error, DataError | IntegrityError):
        return True
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(_ROWS_AT_FAULT)


# The columns of each table, the rule by which a later event changes each, and the SQL that follows from them.


class Rule(Enum):
    """The value of a column when a row is written again.

    KEY: the column is part of the key. STATE: the value of the latest event, even if it is NULL. LATEST: the latest
    value that is not NULL. RUN: the same, but NULL for a job that has not run yet or was reset to run again. ONCE: the
    first value.
    """

    KEY = "key"
    STATE = "state"
    LATEST = "latest"
    RUN = "run"
    ONCE = "once"


class Column(NamedTuple):
    """A column with its SQL type and its rule."""

    name: str
    type: str
    rule: Rule = Rule.STATE


class Upsert(NamedTuple):
    """A statement that writes rows, and the function that makes its arguments from a namespace and rows."""

    sql: str
    arguments: Callable[[str, Sequence[Row]], Any]


JOBS = (
    Column("id", "text", Rule.KEY),
    Column("seq", "bigint"),
    Column("status", "text"),
    *(Column(name, "text", Rule.LATEST) for name in (
        "queue", "function", "name", *(field.column for field in FIELDS if field.kind is str),
    )),
    Column("priority", "integer", Rule.LATEST),
    Column("tags", "json", Rule.LATEST),
    Column("metadata", "json", Rule.LATEST),
    Column("envelope", "bytea", Rule.LATEST),
    Column("enqueued_at", "moment", Rule.LATEST),
    Column("scheduled_at", "moment"),
    Column("completed_at", "moment"),
    Column("updated_at", "moment"),
    Column("attempt", "integer", Rule.LATEST),
    Column("retry_count", "integer", Rule.LATEST),
    Column("started_at", "moment", Rule.RUN),
    Column("worker", "text", Rule.RUN),
    Column("fence", "bigint", Rule.RUN),
    Column("error", "text"),
    Column("cancel_requested_by", "text"),
    Column("moved_to", "text"),
)  # fmt: skip
RESULTS = (
    Column("id", "text", Rule.KEY),
    Column("seq", "bigint"),
    Column("status", "text"),
    Column("result", "json"),
    Column("error", "text"),
    Column("error_type", "text"),
    Column("error_class", "text"),
    Column("traceback", "text"),
    Column("duration", "float8"),
    Column("record", "bytea"),
)
ATTEMPTS = (
    Column("job_id", "text", Rule.KEY),
    Column("fence", "bigint", Rule.KEY),
    Column("seq", "bigint"),
    Column("status", "text"),
    Column("attempt", "integer", Rule.LATEST),
    Column("worker", "text", Rule.LATEST),
    Column("started_at", "moment", Rule.LATEST),
    Column("ended_at", "moment"),
    Column("error", "text"),
)
TAGS = (Column("tag", "text", Rule.KEY), Column("job_id", "text", Rule.KEY))
LIFE = (
    Column("job_id", "text", Rule.KEY), Column("at_us", "bigint", Rule.KEY), Column("word", "text", Rule.KEY),
    Column("text", "text", Rule.ONCE),
)  # fmt: skip


def upsert(table: str, columns: Sequence[Column], dialect: str) -> Upsert:
    """The statement that writes rows of a table. An earlier state never overwrites a later one.

    Args:
        table: Name of the table.
        columns: The columns besides the namespace.
        dialect: ``postgresql``: one statement writes all rows; ``sqlite``: one statement per row.
    """
    is_postgres = dialect == "postgresql"
    names = ", ".join(f'"{column.name}"' for column in columns)
    source = _unnested(columns) if is_postgres else _values(columns)
    sql = f"INSERT INTO {table} AS old (namespace, {names}) {source} ON CONFLICT (namespace, {_keys(columns)}) DO "
    changing = [column for column in columns if column.rule not in (Rule.KEY, Rule.ONCE)]
    sets = [_set(column, is_postgres=is_postgres) for column in changing]
    if not sets:
        sql += "NOTHING"
    else:
        is_news = "excluded.seq > old.seq"
        if columns is JOBS:  # the event of the enqueue may be read after later ones
            is_news += " OR (old.priority IS NULL AND excluded.priority IS NOT NULL)"
        sql += f"UPDATE SET {', '.join(sets)} WHERE {is_news}"
    convert = tuple((column.name, _CONVERSIONS.get(column.type)) for column in columns)
    return Upsert(sql, _by_columns(convert) if is_postgres else _by_rows(convert))


def _keys(columns: Sequence[Column]) -> str:
    return ", ".join(f'"{column.name}"' for column in columns if column.rule is Rule.KEY)


def _set(column: Column, *, is_postgres: bool) -> str:
    name = f'"{column.name}"'
    new, old = f"excluded.{name}", f"old.{name}"
    if column.name == "seq":
        return f"seq = {'GREATEST' if is_postgres else 'max'}(excluded.seq, old.seq)"
    latest = f"CASE WHEN excluded.seq > old.seq THEN COALESCE({new}, {old}) ELSE COALESCE({old}, {new}) END"
    if column.rule is Rule.LATEST:
        return f"{name} = {latest}"
    if column.rule is Rule.RUN:
        return f"{name} = CASE WHEN excluded.attempt = 0 AND excluded.seq > old.seq THEN {new} ELSE {latest} END"
    return f"{name} = CASE WHEN excluded.seq > old.seq THEN {new} ELSE {old} END"


def _unnested(columns: Sequence[Column]) -> str:
    types = {"json": "text", "moment": "bigint"}
    arrays = ", ".join(f"%({column.name})s::{types.get(column.type, column.type)}[]" for column in columns)
    names = ", ".join(f'"{column.name}"' for column in columns)
    values = []
    for column in columns:
        value = f'r."{column.name}"'
        if column.type == "json":
            value += "::jsonb"
        elif column.type == "moment":
            value = f"timestamptz 'epoch' + {value} * interval '1 microsecond'"
        values.append(value)
    return f"SELECT %(namespace)s, {', '.join(values)} FROM unnest({arrays}) AS r({names})"  # noqa: S608 - as above


def _values(columns: Sequence[Column]) -> str:
    values = [_sqlite_moment(f":{column.name}") if column.type == "moment" else f":{column.name}" for column in columns]
    return f"VALUES (:namespace, {', '.join(values)})"


def _sqlite_moment(value: str) -> str:
    """SQL that turns µs since 1970 into SQLAlchemy's format of a time in SQLite."""
    return f"strftime('%Y-%m-%d %H:%M:%S', {value} / 1000000, 'unixepoch') || printf('.%06d', {value} % 1000000)"


_Conversion = tuple[tuple[str, Callable[[Any], Any] | None], ...]


def _by_columns(convert: _Conversion) -> Callable[[str, Sequence[Row]], Any]:
    def arguments(namespace: str, rows: Sequence[Row]) -> Mapping[str, Any]:
        columns: dict[str, Any] = {"namespace": namespace}
        present = {name for row in rows for name in row}
        nothing = "{" + ",".join(["NULL"] * len(rows)) + "}"
        for name, change in convert:
            if name not in present:
                columns[name] = nothing
            else:
                values = [row.get(name) for row in rows]
                columns[name] = "{" + ",".join([_element(value, change) for value in values]) + "}"
        return columns

    return arguments


def _element(value: Any, change: Callable[[Any], Any] | None) -> str:
    """A value as an element of PostgreSQL's array syntax. A driver that adapts each element takes far longer."""
    if value is None:
        return "NULL"
    if change is not None:
        return '"' + str(change(value)).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if type(value) is bytes:
        return f'"\\\\x{value.hex()}"'
    if type(value) is int or type(value) is float:
        return str(value)
    raise TypeError(f"{type(value).__name__} where a number belongs")  # a text could be read as several elements


def _by_rows(convert: _Conversion) -> Callable[[str, Sequence[Row]], Any]:
    def arguments(namespace: str, rows: Sequence[Row]) -> Sequence[Mapping[str, Any]]:
        written = []
        for row in rows:
            values: dict[str, Any] = {"namespace": namespace}
            for name, change in convert:
                value = row.get(name)
                values[name] = value if change is None or value is None else change(value)
            written.append(values)
        return written

    return arguments


def clean(text: object) -> str:
    """A text that every database accepts: NUL, which PostgreSQL refuses, becomes U+FFFD."""
    plain = text if type(text) is str else str(text)
    return plain.replace("\x00", "\ufffd") if "\x00" in plain else plain


def as_json(value: object) -> str:
    """A value as JSON; parts that JSON lacks become text."""
    try:
        return _dumps(value)
    except (TypeError, ValueError):
        return _dumps(_plain(value))


def _dumps(value: object) -> str:
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if "\\u0000" in text:
        text = json.dumps(_plain(value), allow_nan=False, ensure_ascii=False)
    return text


def _plain(value: object) -> object:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return clean(value)
        case bytes():
            return value.hex()
        case Mapping():
            return {clean(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
    return clean(value)


_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {"text": clean, "json": as_json}


OWNERS: Sequence[tuple[Any, Any]] = (
    (JobTagModel, JobTagModel.job_id),
    (JobLifeModel, JobLifeModel.job_id),
    (JobAttemptModel, JobAttemptModel.job_id),
    (JobResultModel, JobResultModel.id),
    (JobModel, JobModel.id),
)
"""The tables with rows of a job, and the column with its id."""


def forget_job(connection: Connection, namespace: str, job_id: str, *, upto: int | None = None) -> bool:
    """Delete a job with its result, its attempts, its life and its tags; return whether there was anything.

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
