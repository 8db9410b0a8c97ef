"""Time: three clocks with three uses, and durations as callers give them."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jobfleet.errors import InvalidJob

# Three clocks with three uses.
#
# Redis's clock decides leases and schedules; only scripts read it. `monotonic` measures waiting. `boottime` guards
# leases, because unlike `monotonic` it keeps running while the machine is suspended. `wall_us` is for people.


SECOND_US = 1_000_000
LATEST_US = 250_000_000_000_000_000
"""The last time that has a date, in µs since 1970."""
STEPS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
"""Units of displayed durations, each with the next smaller unit."""

ahead_us = 0
"""By how many microseconds `wall_us` is ahead of this machine's clock. Only `jobfleet.testing` sets it."""
monotonic: Callable[[], float] = time.monotonic

if hasattr(time, "CLOCK_BOOTTIME"):

    def boottime() -> float:
        """Seconds since boot, including the time for which the machine was suspended."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

elif sys.platform == "darwin":

    def boottime() -> float:
        """Seconds since boot, including the time for which the machine slept; `time.monotonic` leaves that out here."""
        return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)

else:
    boottime = time.monotonic


def wall_us() -> int:
    """Microseconds since 1970 by this machine's clock; in a test that moves its clock, by that one."""
    return time.time_ns() // 1000 + ahead_us


def to_us(seconds: float) -> int:
    """Convert public seconds to internal integer microseconds."""
    return round(seconds * SECOND_US)


def moment_us(moment: datetime) -> int:
    """Convert a time to microseconds since 1970; an earlier time counts as 1970, because scores below 0 mean groups."""
    return max(0, round(moment.timestamp() * SECOND_US))


def moment(us: int | None) -> datetime | None:
    """Convert microseconds since 1970 to a time; None for 0 and for a number outside the calendar."""
    try:
        return datetime.fromtimestamp(us / 1_000_000, UTC) if us else None
    except (OverflowError, ValueError, OSError):  # not a time that jobfleet has written
        return None


def to_seconds(us: int) -> float:
    """Convert internal integer microseconds to public seconds."""
    return us / SECOND_US


def local(moment: datetime) -> str:
    """Format a time for people: in the local zone, with its offset, such as ``2026-11-27 18:04:05 +01:00``."""
    text = moment.astimezone().isoformat(" ", "seconds")
    return f"{text[:19]} {text[19:]}"


def iso(moment: datetime | None) -> str | None:
    """Format a time for programs: in UTC, as ISO 8601; None for None. All JSON has times in this form."""
    return moment.astimezone(UTC).isoformat() if moment else None


def span(seconds: float) -> str:
    """Format a duration for people in at most two units: '12 ms', '1.24 s', '3 min 5 s'."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for large, large_name, small, small_name in STEPS:
        if whole >= large:
            count, rest = divmod(whole, large)
            rest //= small
            return f"{count} {large_name} {rest} {small_name}" if rest else f"{count} {large_name}"
    return f"{whole} s"


# Durations as callers give them: numbers, timedeltas and texts such as ``1h30m``.


LONGEST = 100 * 366 * 86_400.0
DELAYS_MAX = 100
"""The maximal length of a list of delays; it travels in the header of the job."""
REMEDY = "use seconds, a timedelta, or a text such as '30s', '5m', '1h30m', '24h' or '30d'"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SINGLE = re.compile(r"(.*?)\s*(ms|s|m|h|d)?", re.DOTALL)
_COMPOUND = re.compile(r"(?:(\d+)d\s*)?(?:(\d+)h\s*)?(?:(\d+)m\s*)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_COMPOUND_UNITS = (86_400.0, 3600.0, 60.0, 1.0)
_TEXTS = "give seconds (0 or more, at most 100 years), a timedelta or a text such as '30s' or '1h30m'"


def read_duration(value: object) -> float:
    """Convert a number, a timedelta or a text to seconds.

    Raises:
        ValueError: The value is not a duration; the message is the remedy.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        return _read_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise ValueError(REMEDY)
    return float(value)


def _read_text(text: str) -> float:
    parts = _COMPOUND.fullmatch(text)
    if parts is not None and any(parts.groups()):
        return sum(float(count) * unit for count, unit in zip(parts.groups("0"), _COMPOUND_UNITS, strict=True))
    found = _SINGLE.fullmatch(text)
    number, unit = (found[1], found[2]) if found else (text, None)
    try:
        read = float(number)
    except ValueError:
        raise ValueError(REMEDY) from None
    if not math.isfinite(read):
        raise ValueError(REMEDY)
    return read * UNITS[unit or "s"]


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False


PAST_REMEDY = "use '24h' for 24 hours ago, or an ISO time such as 2026-11-25T08:00+01:00"


def past(text: str) -> datetime:
    """Read a time of the past: '24h' for 24 hours ago, or an ISO time, which may lack an offset.

    Raises:
        ValueError, OverflowError: It is neither, or outside the calendar.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        ago = read_duration(text)
        if not 0 <= ago <= LONGEST:
            raise
        return datetime.now(UTC) - timedelta(seconds=ago)
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def from_timedelta(value: object) -> Any:
    """Convert a timedelta to seconds; return any other value as it is, for a check of the caller's."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def seconds(value: object, *, field: str) -> float:
    """Convert a public duration to seconds; refuse a value that is not a finite, non-negative duration."""
    value = from_timedelta(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST:
        raise InvalidJob(
            f"{field} is {value!r}; give seconds (0 or more, at most 100 years) or a timedelta.", field=field
        )
    return float(value)


def seconds_or_text(value: object, *, field: str) -> float:
    """Convert a duration that may be a text to seconds; refuse a value that is not a finite, non-negative duration."""
    try:
        read = read_duration(value)
    except ValueError:
        read = -1.0
    if not 0 <= read <= LONGEST:
        raise InvalidJob(f"{field} is {value!r}; {_TEXTS}.", field=field)
    return read


def delays(value: object, *, field: str) -> float | tuple[float, ...]:
    """Convert one delay, or a list of delays, to seconds.

    Raises:
        InvalidJob: The value is neither, or the list is empty or too long.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return seconds_or_text(value, field=field)
    if not 0 < len(value) <= DELAYS_MAX:
        raise InvalidJob(f"{field} is a list of {len(value)} delays; give 1 to {DELAYS_MAX}.", field=field)
    return tuple(seconds_or_text(one, field=field) for one in value)
