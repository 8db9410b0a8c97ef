"""Samples of a fleet: points of series over time, their resolutions, and what workers report for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

# The resolutions in which samples are kept, and the chunks of their steps.
#
# A chunk has the points of all series for a span of time, in one hash: ten minutes of ten seconds, or four hours of
# minutes. Thus a window is at most thirteen hashes, a chunk ends as a whole, and no key is ever swept.


SECOND_US = 1_000_000


class Resolution(NamedTuple):
    """A resolution.

    Attributes:
        name: Its name in keys.
        step: The duration of a step in seconds.
        length: The number of steps in a chunk.
        kept: For how long a step is kept, in seconds.
    """

    name: str
    step: int
    length: int
    kept: int

    def step_at(self, at_us: int) -> int:
        """Return the number of the step that has this time, counted since 1970."""
        return at_us // (self.step * SECOND_US)

    def place(self, index: int) -> tuple[str, int]:
        """Return the chunk of a step, and its number within it."""
        chunk, step = divmod(index, self.length)
        return f"{self.name}:{chunk}", step

    @property
    def ttl_ms(self) -> int:
        """How long a chunk is kept after its last write, in ms; its oldest step has expired by then."""
        return (self.kept + 2 * self.step * self.length) * 1000


FINE = Resolution("10s", 10, 60, 2 * 3600)
COARSE = Resolution("1m", 60, 240, 48 * 3600)
HOUR_S = 3600
ARCHIVED_S = 90 * 24 * 3600
"""For how long an archive keeps the points of hours, in seconds."""


# Histograms of durations, with buckets on a logarithmic scale: two per power of two, from 64 µs to 19 hours.
#
# A bucket is at most half as wide as its least duration, be it a millisecond or an hour. A histogram of a function
# has about ten buckets that are not empty. Histograms of processes and of times add up; percentiles do not.


FIRST_BITS = 6
"""The first bucket has all durations below 2 to this power, in µs."""
BUCKETS = 62
"""Number of buckets; the last one has all longer durations, too."""

Spread = Mapping[int, int]
"""Number of durations by bucket; empty buckets are left out."""


def bucket_of(duration_us: int) -> int:
    """Return the bucket of a duration in µs; a negative one counts as 0."""
    bits = duration_us.bit_length()
    if bits <= FIRST_BITS or duration_us < 0:
        return 0
    bucket = 2 * (bits - FIRST_BITS) - 1 + (duration_us >> (bits - 2) & 1)
    return bucket if bucket < BUCKETS else BUCKETS - 1


def bounds(bucket: int) -> tuple[int, int]:
    """Return the least duration in a bucket and the first one beyond it, in µs."""
    if bucket == 0:
        return 0, 1 << FIRST_BITS
    octave, upper = divmod(bucket - 1, 2)
    half = 1 << (FIRST_BITS + octave - 1)
    low = (2 + upper) * half
    return low, low + half


def quantiles(spread: Spread, shares: Sequence[float]) -> list[int]:
    """Return the durations in µs below which these shares of a histogram lie; within a bucket they are interpolated.

    Args:
        spread: The histogram; at least one duration.
        shares: Ascending numbers between 0 and 1.
    """
    whole = sum(spread.values())
    found: list[int] = []
    before = 0
    ordered = sorted((bucket, count) for bucket, count in spread.items() if count)
    for bucket, count in ordered:
        low, high = bounds(bucket)
        while len(found) < len(shares) and shares[len(found)] * whole <= before + count:
            inside = (shares[len(found)] * whole - before) / count
            found.append(round(low + inside * (high - low)))
        before += count
    last = bounds(ordered[-1][0])[1]
    return found + [last] * (len(shares) - len(found))


# Points of a series: what was counted in one step of time, and what was seen at its end.
#
# A point is a mapping from the number of a field to its value. Fields without a value are left out: a count of 0
# takes no space. Points of several steps, or of several queues, add up to one.


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


# What a worker reports about the runs of its functions: counts and histograms since its start, which only grow.
#
# A report has everything since the start, not what is new. So a lost report costs nothing, one that comes twice
# changes nothing, and the reader takes the difference to the last one.


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
