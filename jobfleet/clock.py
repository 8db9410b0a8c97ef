"""Three clocks, three uses.

Redis's clock judges leases and schedules and is read only inside scripts. `monotonic` measures
waiting. `boottime` guards leases: unlike `monotonic` it goes on while the machine is suspended.
`wall_us` is for people.
"""

from __future__ import annotations

import time

SECOND_US = 1_000_000
STEPS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
"""Units in which people are told of time, each with the next smaller one."""

monotonic = time.monotonic

if hasattr(time, "CLOCK_BOOTTIME"):

    def boottime() -> float:
        """Seconds since boot, suspension included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # macOS: its monotonic clock already counts suspension
    boottime = time.monotonic


def wall_us() -> int:
    """Microseconds since 1970, by this machine's clock."""
    return time.time_ns() // 1000


def to_us(seconds: float) -> int:
    """Convert public seconds to the integer microseconds used inside."""
    return round(seconds * SECOND_US)


def to_seconds(us: int) -> float:
    """Convert integer microseconds to public seconds."""
    return us / SECOND_US


def span(seconds: float) -> str:
    """A duration for people, in two units at most: '12 ms', '1.24 s', '3 min 5 s'."""
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
