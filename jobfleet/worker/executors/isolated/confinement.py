"""What confines an isolated process: resource limits, its tie to its worker, and its hold on its own children."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# Resource limits of an isolated process: set inside, watched from outside.


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


# Ties an isolated process to its worker's process, and its own children to it.
#
# It leads its own process group, which is killed as a whole. On Linux the kernel does this when the worker's process
# is gone, even during a computation: the read end of a pipe, whose write end the worker's process holds, is set to
# signal the group with SIGKILL. If a fork of the worker's process still holds the write end, the signal for the death
# of the parent lets the process end its group. That signal is not SIGKILL: the kernel may send it first, and then
# nobody would have the read end when the write end is closed. On other systems a thread notices the end of the
# channel.


F_SETSIG = 10
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def tie(lifeline: int, parent: int) -> None:
    """Tie this process to its parent: called once, by an isolated process.

    Args:
        lifeline: The read end of the pipe. Nothing is ever written to it.
        parent: The process id of the parent. If it is gone already, this process ends.
    """
    os.set_inheritable(lifeline, False)
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        # Orphans of a job's children become children of this process, so that they are found.
        with suppress(AttributeError, OSError):
            prctl = ctypes.CDLL(None).prctl
            prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            signal.signal(signal.SIGRTMAX, lambda *_: end_group())
            prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGRTMAX), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def end_group() -> None:
    """End this process and its group: the worker's process is gone."""
    os.killpg(0, signal.SIGKILL)


def has_children() -> bool:
    """Whether this process has children, running or not reaped.

    The check reaps none, except where `os.waitid` is missing: on macOS before Python 3.13.
    """
    try:
        if hasattr(os, "waitid"):
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        else:
            os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def kill_all(leader: int) -> None:
    """Kill a group leader, its group, and on Linux the processes that have left it. Called before it is reaped."""
    for pid in descendants(leader):
        _kill(pid)
    if not kill_group(leader):
        _kill(leader)


def kill_group(leader: int) -> bool:
    """Kill a process group; return False if it has no process that can be killed."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):  # EPERM: only a zombie is left, on macOS
            raise
        return False
    return True


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """All descendants of a process; empty if there is no /proc."""
    found: list[int] = []
    left = [pid]
    while left:
        one = left.pop()
        with suppress(OSError, ValueError):
            children = [
                int(child)
                for thread in Path(f"/proc/{one}/task").iterdir()
                for child in (thread / "children").read_text().split()
            ]
            found += children
            left += children
    return found
