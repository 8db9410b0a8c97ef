"""Copies in the archive of what Redis keeps for a shorter time: the audit, and the samples of hours."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, and_, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from jobfleet.archive.models import AuditModel, JobSampleModel
from jobfleet.archive.writer import as_json, clean
from jobfleet.codec import decode
from jobfleet.errors import EncodingError
from jobfleet.model.audit import UNKNOWN, AuditFilter, Position
from jobfleet.samples import HOUR_S, Point, pack, unpack_point
from jobfleet.store.calls.journal import AuditRecord, sealed_audit
from jobfleet.store.rows import NOT_READ

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals


# The audit in the archive: copies of the records in Redis, which are kept longer.


log: logging.Logger = logging.getLogger("jobfleet.archive")
CHUNK = 1000
NUMBER_BITS = 20
NUMBER_MOST: int = (1 << NUMBER_BITS) - 1
"""Bits of a position for the number within a millisecond."""
EPOCH: datetime = datetime(1970, 1, 1, tzinfo=UTC)
MS: timedelta = timedelta(milliseconds=1)


class AuditArchive:
    """The audit of a fleet in the archive.

    Args:
        engine: The database.
        namespace: Namespace of the fleet.
        seals: Opens sealed records; None without keys.
    """

    def __init__(self, engine: Engine, namespace: str, seals: Seals | None = None) -> None:
        self._engine = engine
        self._namespace = namespace
        self._seals = None if seals is None else seals.of_archive()
        self._insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def write(self, records: Sequence[AuditRecord]) -> int:
        """Write records in one transaction; return how many. Safe to repeat, and in any order."""
        rows = {}
        for record in sorted(records, key=lambda one: one.position):  # the end of an action replaces its beginning
            try:
                rows[record.id] = self._row(record)
            except NOT_READ:
                log.error("archive.refused audit id=%s: jobfleet has not written it", record.id)
        if rows:
            made = self._insert(AuditModel)
            changed = {
                name: made.excluded[name] for name in next(iter(rows.values())) if name not in ("namespace", "id")
            }
            is_later = made.excluded.position > AuditModel.position
            with self._engine.begin() as connection:
                connection.execute(
                    made.on_conflict_do_update(index_elements=["namespace", "id"], set_=changed, where=is_later),
                    list(rows.values()),
                )
        return len(rows)

    def _row(self, record: AuditRecord) -> dict[str, Any]:
        head = json.loads(record.head)
        recorded = EPOCH + record.position.ms * MS
        has_ended = "outcome" in head
        values: dict[str, Any] = {"before": None, "after": None}
        if self._seals is None or not self._seals.hides:
            with suppress(EncodingError):  # a reader with the right keys may open it
                values = decode(record.body)
        return {
            "namespace": self._namespace,
            "id": clean(record.id),
            "position": number_of(record.position),
            "at": EPOCH + int(head["began"]) * MS if has_ended else recorded,
            "ended_at": recorded if has_ended else None,
            "by_name": clean(head["by"]),
            "source": clean(head["source"]),
            "action": clean(head["action"]),
            "target": clean(head["target"]),
            "outcome": clean(head.get("outcome", UNKNOWN)),
            "number": head.get("count"),
            "error": head.get("error"),
            "before": _json(values["before"]),
            "after": _json(values["after"]),
            "head": record.head,
            "body": record.stored,
        }

    def last(self) -> str:
        """The position of the last record that was written; empty if there is none."""
        with self._engine.connect() as connection:
            wanted = select(func.max(AuditModel.position)).where(AuditModel.namespace == self._namespace)
            position = connection.scalar(wanted)
        return "" if position is None else str(position_of(position))

    def page(self, chosen: AuditFilter, *, below: Position | None, limit: int) -> list[AuditRecord]:
        """Return records, the newest first; the filter is applied again by the reader.

        Args:
            chosen: Which records.
            below: Only records before this position; None for all.
            limit: The most records.
        """
        conditions = [AuditModel.namespace == self._namespace]
        if below is not None:
            conditions.append(AuditModel.position < number_of(below))
        recorded = func.coalesce(AuditModel.ended_at, AuditModel.at)
        if chosen.since is not None:
            conditions.append(recorded >= chosen.since.astimezone(UTC))
        if chosen.until is not None:
            conditions.append(recorded < chosen.until.astimezone(UTC))
        if chosen.by is not None:
            conditions.append(AuditModel.by_name == clean(chosen.by))
        if chosen.action is not None:
            conditions.append(
                (AuditModel.action == chosen.action)
                | AuditModel.action.startswith(f"{chosen.action}.", autoescape=True)
            )
        if chosen.target is not None:
            conditions.append(AuditModel.target.contains(clean(chosen.target), autoescape=True))
        asked = select(AuditModel.position, AuditModel.id, AuditModel.head, AuditModel.body)
        asked = asked.where(and_(*conditions)).order_by(AuditModel.position.desc()).limit(limit)
        with self._engine.connect() as connection:
            rows = connection.execute(asked).all()
        return [sealed_audit(self._seals, position_of(row[0]), *row[1:]) for row in rows]

    def prune(self, older_than: timedelta | float) -> int:
        """Delete records that are older; return how many."""
        age = older_than if isinstance(older_than, timedelta) else timedelta(seconds=older_than)
        before = number_of(Position((datetime.now(UTC) - age - EPOCH) // MS, 0))
        with self._engine.begin() as connection:
            where = and_(AuditModel.namespace == self._namespace, AuditModel.position < before)
            return int(connection.execute(delete(AuditModel).where(where)).rowcount)


def number_of(position: Position) -> int:
    """A position as one number, which orders records as the stream does."""
    return (position.ms << NUMBER_BITS) | min(position.number, NUMBER_MOST)


def position_of(number: int) -> Position:
    """The position that a number stands for."""
    return Position(number >> NUMBER_BITS, number & NUMBER_MOST)


def _json(value: Any) -> Any:
    return None if value is None else json.loads(as_json(value))


# The samples of hours in the archive: written by a reaper, read by `fleet.history`.


SAMPLED = ""
"""The series whose rows mark the hours that were sampled; in these a series without a row had nothing."""


def write_hour(engine: Engine, namespace: str, hour: int, series: Mapping[str, Point]) -> None:
    """Write the points of an hour. Safe to repeat.

    Args:
        engine: The database.
        namespace: The namespace of the fleet.
        hour: The hour, counted since 1970.
        series: The points by series.

    Raises:
        DBAPIError: The database did not answer, or lacks the table.
    """
    row = JobSampleModel
    rows = [
        {"namespace": namespace, "series": name, "hour": hour, "point": pack(0, 0, point)}
        for name, point in sorted({SAMPLED: {}, **series}.items())
    ]
    with engine.begin() as connection:
        connection.execute(delete(row).where(row.namespace == namespace, row.hour == hour))
        connection.execute(insert(row), rows)


def read_hours(engine: Engine, namespace: str, series: str, *, since: float) -> dict[int, Point]:
    """Return the points of a series by the beginning of their hour, in seconds since 1970.

    Args:
        engine: The database.
        namespace: The namespace of the fleet.
        series: The name of the series.
        since: The time of the first hour, in seconds since 1970.

    Raises:
        DBAPIError: The database did not answer, or lacks the table.
    """
    row = JobSampleModel
    asked = select(row.series, row.hour, row.point).where(
        row.namespace == namespace, row.series.in_((SAMPLED, series)), row.hour >= since // HOUR_S
    )
    points: dict[int, Point] = {}
    with engine.connect() as connection:
        for name, hour, point in connection.execute(asked):
            points.setdefault(hour * HOUR_S, {}).update(unpack_point(point) if name == series else {})
    return points


def prune_hours(engine: Engine, namespace: str, *, before: int) -> int:
    """Delete the points of hours before an hour, counted since 1970; return how many.

    Raises:
        DBAPIError: The database did not answer, or lacks the table.
    """
    row = JobSampleModel
    with engine.begin() as connection:
        return connection.execute(delete(row).where(row.namespace == namespace, row.hour < before)).rowcount
