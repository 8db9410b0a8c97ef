"""Three clocks, three uses.

Redis's clock judges leases and schedules and is read only inside scripts. `monotonic` measures
waiting. `boottime` guards leases: unlike `monotonic` it goes on while the machine is suspended.
`wall_us` is for people.
"""

from __future__ import annotations

import time

SECOND_US = 1_000_000

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
