"""Three clocks with three uses.

Redis's clock decides leases and schedules; only scripts read it. `monotonic` measures waiting. `boottime` guards
leases, because unlike `monotonic` it keeps running while the machine is suspended. `wall_us` is for people.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

SECOND_US = 1_000_000
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
