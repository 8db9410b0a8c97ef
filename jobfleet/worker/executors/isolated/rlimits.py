"""Resource limits of an isolated process: set inside, watched from outside."""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PAGE = resource.getpagesize()
MEMORY = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
"""On Linux the private memory. The address space would include reserved memory."""
OOM_SCORE = "500"
CGROUPS = Path("/sys/fs/cgroup")
CPU_SPARE = 1
"""Seconds from SIGXCPU to SIGKILL: the soft limit shows the cause of death, the hard limit ends survivors."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Bounds:
    """The state of a process after a bounded block.

    Attributes:
        is_lifted: False if a limit remains that another job must not have, because the process may not raise it.
    """

    is_lifted: bool = True


def be_nice(nice: int) -> None:
    """Lower the priority of this process. It cannot be raised again."""
    if not nice:
        return
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))


def offer_for_memory() -> None:
    """Make the kernel kill this process before its worker's process when memory is short."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


@contextmanager
def bounded(memory: int, cpu: float) -> Iterator[Bounds]:
    """Bound this process while the block runs.

    The limits are hard: without the privilege CAP_SYS_RESOURCE the block cannot raise them. Neither can this function
    afterwards, so a limit on memory stays: the process is kept for jobs with the same one. A limit on CPU time
    that stays ends the process's use, since it counts from the process's start.

    Args:
        memory: Bytes in all, beyond which an allocation fails; 0 for no limit.
        cpu: Seconds beyond what was used so far, after which SIGXCPU ends the process, and a second later SIGKILL; 0
            for no limit.
    """
    bounds = Bounds()
    before = {kind: resource.getrlimit(kind) for kind in (MEMORY, resource.RLIMIT_CPU)}
    if memory:
        _lower(MEMORY, memory)
    if cpu:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _lower(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + cpu), spare=CPU_SPARE)
    try:
        yield bounds
    finally:
        for kind, limits in before.items():
            try:
                resource.setrlimit(kind, limits)
            except (OSError, ValueError):
                bounds.is_lifted = bounds.is_lifted and kind == MEMORY


def _lower(kind: int, limit: int, *, spare: int = 0) -> None:
    """Set the soft limit, and the hard limit `spare` above it, but neither above the current hard limit."""
    _, most = resource.getrlimit(kind)
    soft, hard = (wanted if most == resource.RLIM_INFINITY else min(wanted, most) for wanted in (limit, limit + spare))
    resource.setrlimit(kind, (soft, hard))


def cpu_time(pid: int) -> float:
    """The CPU time of a process in seconds; 0 if it is not available."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    except (OSError, IndexError, ValueError):
        return 0.0


def resident(pid: int) -> tuple[int, int]:
    """The resident and the private memory of a process in bytes; zeros if they are not available."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()
        return int(pages[1]) * PAGE, int(pages[5]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0, 0


def oom_kills(groups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """How many processes of this control group the kernel has killed for memory; None if that is not available.

    Args:
        groups: Where control groups are mounted.
        own: The file that names the control group of this process.
    """
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                kills = _count(groups / path.lstrip("/") / "memory.events")
            elif "memory" in controllers.split(","):
                kills = _count(groups / "memory" / path.lstrip("/") / "memory.oom_control")
            else:
                continue
            if kills is not None:
                return kills
    return None


def _count(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return None
