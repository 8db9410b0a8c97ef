"""The samples of hours in the archive: written by a reaper, read by `fleet.history`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine, delete, insert, select

from jobfleet.archive.models import JobSampleModel
from jobfleet.samples.point import Point, pack, unpack_point
from jobfleet.samples.resolution import HOUR_S

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
