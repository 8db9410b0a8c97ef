"""The columns of each table, the rule by which a later event changes each, and the SQL that follows from them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from jobfleet.archive.fold import Row


class Rule(Enum):
    """The value of a column when a row is written again.

    KEY: the column is part of the key. STATE: the value of the latest event, even if it is NULL. LATEST: the latest
    value that is not NULL. RUN: the same, but NULL for a job that has not run yet or was reset to run again.
    """

    KEY = "key"
    STATE = "state"
    LATEST = "latest"
    RUN = "run"


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
        "queue", "function", "name", "user_name", "session_id", "correlation_id", "group_name", "unique_key",
        "moved_from",
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
    sets = [_set(column, is_postgres=is_postgres) for column in columns if column.rule is not Rule.KEY]
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
