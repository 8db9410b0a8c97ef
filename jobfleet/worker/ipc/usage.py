"""The memory and the processor time of processes.

Linux shows both for any process, so that the supervisor also sees them of a child that hangs. Other systems show them
only to the process itself, and of its memory only the peak.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jobfleet.clock import boottime

_PROC = Path("/proc")
IS_SHOWN = (_PROC / "self" / "statm").exists()
"""Whether the system shows the use of other processes."""
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_USER_TIME = 11
"""The place of the processor time in user mode among the fields after the name; the time in the kernel follows."""
LEAST = 1.0
"""Seconds between two readings from which a share of the processor time is computed."""


class Usage(NamedTuple):
    """What a process uses.

    Attributes:
        memory: Its resident memory in bytes.
        seconds: Its processor time since its start.
    """

    memory: int
    seconds: float


class Process(NamedTuple):
    """A child of a worker, as its supervisor sees it.

    Attributes:
        child: Its id.
        pid: Its process id.
        state: ``loading``, ``running``, ``draining``, ``hung`` or ``frozen``.
        running: The number of jobs that it runs.
        slots: How many it may run at once.
        usage: What it uses; None if that is not known.
        hung_for: Seconds for which its event loop has not turned, if it hangs.
    """

    child: str
    pid: int
    state: str
    running: int
    slots: int
    usage: Usage | None
    hung_for: float = 0.0


class Load(NamedTuple):
    """What processes use now.

    Attributes:
        memory: Their resident memory in bytes; None if it is not known.
        cpu: The processor time that they take, in seconds per second; None if it is not known yet.
    """

    memory: int | None
    cpu: float | None


def resident_bytes() -> int:
    """Return this process's resident memory in bytes, or its peak if the system does not report the current value."""
    return own_usage().memory


def own_usage() -> Usage:
    """Return what this process uses, without the processes that it has started."""
    found = usage_of(os.getpid()) if IS_SHOWN else None
    if found is not None:
        return found
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(used.ru_maxrss * (1 if sys.platform == "darwin" else 1024), used.ru_utime + used.ru_stime)


def usage_of(pid: int) -> Usage | None:
    """Return what a process uses; None if it is gone, or the system does not show it."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_bytes().split()[1])
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return Usage(pages * _PAGE, (int(fields[_USER_TIME]) + int(fields[_USER_TIME + 1])) / _TICKS)
    except (OSError, IndexError):
        return None


class Meter:
    """Computes the load of processes from successive readings."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[float, float, float | None]] = {}

    def loads(self, usages: Mapping[str, Usage | None]) -> dict[str, Load]:
        """Return the load of each process since its last reading, and forget all other processes.

        Args:
            usages: What the processes use, by any name that is never given to another process.
        """
        now = boottime()
        self._read = {name: self._next(name, usage, now) for name, usage in usages.items() if usage is not None}
        return {
            name: Load(None, None) if usage is None else Load(usage.memory, self._read[name][2])
            for name, usage in usages.items()
        }

    def _next(self, name: str, usage: Usage, now: float) -> tuple[float, float, float | None]:
        """Keep the last share if it was computed just before: the clock of the processor time has coarse steps."""
        at, seconds, share = self._read.get(name, (now, usage.seconds, None))
        if now - at < LEAST:
            return at, seconds, share
        return now, usage.seconds, max(0.0, round((usage.seconds - seconds) / (now - at), 3))


def total(loads: Mapping[str, Load]) -> Load:
    """Return the load of processes together, as far as it is known; a new process has no share yet."""
    memory = [one.memory for one in loads.values() if one.memory is not None]
    shares = [one.cpu for one in loads.values() if one.cpu is not None]
    return Load(sum(memory) if memory else None, round(sum(shares), 3) if shares else None)
