"""Points of a series: what was counted in one step of time, and what was seen at its end.

A point is a mapping from the number of a field to its value. Fields without a value are left out: a count of 0 takes no
space. Points of several steps, or of several queues, add up to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgpack

from jobfleet.samples.buckets import BUCKETS

COUNTS = ("enqueued", "started", "completed", "failed", "retried", "cancelled", "expired")
"""What is counted. The place in this list is the number of the field, and never changes."""
GAUGES = ("waiting", "scheduled", "blocked", "running", "dead")
"""What is seen at the end of a step; numbered from `FIRST_GAUGE`."""
FIRST_GAUGE = 16
OLDEST, WAIT, RUN = 32, 40, 41
"""The age of the oldest job that is due, in ms; the histograms of the wait and the run time."""
SPREADS = (WAIT, RUN)

ENQUEUED, STARTED, COMPLETED, FAILED, RETRIED, CANCELLED, EXPIRED = range(7)

TOTAL = "t"
"""The name of the series of the whole fleet."""

Point = dict[int, Any]
Points = dict[int, Point]
"""Points by the number of their step within a chunk."""


def queue_series(queue: str) -> str:
    """The name of a queue's series."""
    return f"q:{queue}"


def function_series(function: str) -> str:
    """The name of a function's series."""
    return f"f:{function}"


def follow(point: Point, later: Point) -> None:
    """Add a later step of the same series to a point: counts add up, and the state is that of the later step."""
    for field, value in later.items():
        if field in SPREADS:
            _spread(point, field, value)
        elif field == OLDEST:
            point[field] = max(point.get(field, 0), value)
        elif field < FIRST_GAUGE:
            point[field] = point.get(field, 0) + value
    for field in range(FIRST_GAUGE, FIRST_GAUGE + len(GAUGES)):
        if field in later:
            point[field] = later[field]
        else:
            point.pop(field, None)


def join(point: Point, other: Point) -> None:
    """Add the same step of another series to a point: counts and numbers of jobs add up."""
    for field, value in other.items():
        if field in SPREADS:
            _spread(point, field, value)
        elif field == OLDEST:
            point[field] = max(point.get(field, 0), value)
        else:
            point[field] = point.get(field, 0) + value


def _spread(point: Point, field: int, more: Mapping[int, int]) -> None:
    spread = point[field] = dict(point.get(field, {}))
    for bucket, count in more.items():
        spread[bucket] = spread.get(bucket, 0) + count


def pack(step: int, epoch: int, point: Point) -> bytes:
    """Encode a point. A chunk of a series is a concatenation of encoded points; a later one of a step replaces it.

    Args:
        step: The number of the step in its chunk.
        epoch: How often Redis's clock had been set back before.
        point: The point.
    """
    encoded: bytes = msgpack.packb([step, epoch, point])
    return encoded


def pack_mark(step: int, epoch: int) -> bytes:
    """Encode the mark of a step in which the fleet was sampled. A point without the mark of its step does not count."""
    encoded: bytes = msgpack.packb([step, epoch])
    return encoded


def unpack_marks(value: bytes) -> dict[int, int]:
    """Decode the marks of a chunk: the epoch of each sampled step. What cannot be read is left out."""
    return {row[0]: row[1] for row in _rows(value) if _is_row(row, 2)}


def unpack(value: bytes, marks: Mapping[int, int]) -> Points:
    """Decode a chunk of a series: the points of its sampled steps. What cannot be read is left out."""
    points: Points = {}
    for row in _rows(value):
        if _is_row(row, 3) and marks.get(row[0]) == row[1]:
            points[row[0]] = _sound(row[2])
    return points


def unpack_point(value: bytes) -> Point:
    """Decode a point that was encoded alone; an empty one if it cannot be read."""
    return next((_sound(row[2]) for row in _rows(value) if _is_row(row, 3)), {})


def _rows(value: bytes) -> Iterable[Any]:
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=max(1, len(value)))
    unpacker.feed(value)
    try:
        yield from unpacker
    except Exception:  # noqa: BLE001 - msgpack raises many kinds; the rows before the damage are sound
        return


def _is_row(row: Any, size: int) -> bool:
    return isinstance(row, list) and len(row) == size and is_count(row[0]) and is_count(row[1])


def _sound(given: Any) -> Point:
    """Return the fields of a point that have values of their type."""
    if not isinstance(given, dict):
        return {}
    return {
        field: value
        for field, value in given.items()
        if isinstance(field, int) and (is_spread(value) if field in SPREADS else is_count(value))
    }


def is_count(value: Any) -> bool:
    """Whether a value is a whole number from 0."""
    return type(value) is int and value >= 0


def is_spread(value: Any) -> bool:
    """Whether a value is a histogram."""
    return isinstance(value, dict) and all(
        is_count(bucket) and bucket < BUCKETS and is_count(count) for bucket, count in value.items()
    )
