"""What a worker reports about the runs of its functions: counts and histograms since its start, which only grow.

A report has everything since the start, not what is new. So a lost report costs nothing, one that comes twice changes
nothing, and the reader takes the difference to the last one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack

from jobfleet.samples.point import CANCELLED, COMPLETED, FAILED, RETRIED, RUN, STARTED, WAIT, Point, is_count, is_spread

OUTCOMES = (STARTED, COMPLETED, FAILED, RETRIED, CANCELLED)
"""The counts of a report, by the numbers of their fields in a point."""
MOST_ROWS = 1001
"""Rows of a report that are read; workers send no more."""
Name = tuple[str, str]
"""A queue and a function."""


class Report(NamedTuple):
    """A worker's report.

    Attributes:
        first: The time of the worker's first report, in µs of Redis's clock; 0 in that report itself.
        rows: What it has counted, by queue and function.
    """

    first: int
    rows: dict[Name, Point]


def read_report(value: bytes) -> Report | None:
    """Decode a report; None if it cannot be read. Rows that cannot be read are left out."""
    try:
        given = msgpack.unpackb(value, strict_map_key=False)
    except Exception:  # noqa: BLE001 - msgpack raises many kinds, and anybody may have written this
        return None
    match given:
        case [int(first), [*rows]]:
            read = (_row(row) for row in rows[:MOST_ROWS])
            return Report(first, dict(filter(None, read)))
    return None


def _row(row: Any) -> tuple[Name, Point] | None:
    match row:
        case [str(queue), str(function), dict(point)]:
            known = {
                field: value
                for field, value in point.items()
                if (field in OUTCOMES and is_count(value)) or (field in (WAIT, RUN) and is_spread(value))
            }
            return (queue, function), known
    return None


def difference(now: Point, before: Point) -> Point | None:
    """Return what a worker has counted between two reports; None if `now` is the older one."""
    new: Point = {}
    for field in (*OUTCOMES, WAIT, RUN):
        value, was = now.get(field), before.get(field)
        if isinstance(value, dict) or isinstance(was, dict):
            value, was = value or {}, was or {}
            spread = {bucket: count - was.get(bucket, 0) for bucket, count in value.items()}
            if any(count < 0 for count in spread.values()) or was.keys() - value.keys():
                return None
            spread = {bucket: count for bucket, count in spread.items() if count}
            if spread:
                new[field] = spread
        elif value or was:
            count = (value or 0) - (was or 0)
            if count < 0:
                return None
            if count:
                new[field] = count
    return new
