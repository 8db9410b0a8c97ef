"""Limits of an isolated process: set from within, watched from outside."""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PAGE = resource.getpagesize()
MEMORY = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
"""On Linux private memory, whoever asks for it; the address space would count what is only reserved."""
OOM_SCORE = "500"
CGROUPS = Path("/sys/fs/cgroup")


def be_nice(nice: int) -> None:
    """Lower this process's priority to so much; it cannot be raised again."""
    if not nice:
        return
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))


def offer_for_memory() -> None:
    """Let the kernel, when memory is short, take this process before its worker's."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


@contextmanager
def bounded(memory: int, cpu: float) -> Iterator[None]:
    """Bound this process while the block runs.

    Args:
        memory: Bytes in all, beyond which an allocation fails; 0 for no limit.
        cpu: Seconds beyond what was used so far, after which SIGXCPU ends the process; 0 for no limit.
    """
    before = {kind: resource.getrlimit(kind) for kind in (MEMORY, resource.RLIMIT_CPU)}
    if memory:
        _lower(MEMORY, memory)
    if cpu:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _lower(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + cpu))
    try:
        yield
    finally:
        for kind, limits in before.items():
            with suppress(OSError, ValueError):
                resource.setrlimit(kind, limits)


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def resident(pid: int) -> tuple[int, int]:
    """The resident and the private memory of a process, in bytes; zeros where it cannot be seen."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()
        return int(pages[1]) * PAGE, int(pages[5]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0, 0


def oom_kills(groups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """How many processes of this control group the kernel has killed for memory; None where that cannot be known.

    Args:
        groups: Where control groups are mounted.
        own: What tells the own one.
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
