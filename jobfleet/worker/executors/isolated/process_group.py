"""What ties an isolated process to its worker's, and its own children to it.

It leads a process group of its own, which is killed as a whole. On Linux the kernel does so when the
worker's process is gone, whatever is being computed: the read end of a pipe whose write end the
worker's process holds is set to signal the group with SIGKILL. Should a fork of the worker's process
still hold it, the signal of the parent's death ends at least the process itself. Elsewhere a thread
sees the line end.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

F_SETSIG = 10
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def tie(lifeline: int, parent: int) -> None:
    """Tie this process to its parent: called once, by an isolated process.

    Args:
        lifeline: The read end of the pipe on which nothing is ever written.
        parent: Who started this process; if it is gone already, this one ends.
    """
    os.set_inheritable(lifeline, False)
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        # What a job's children leave behind becomes this process's child, so that it is found.
        with suppress(AttributeError, OSError):
            prctl = ctypes.CDLL(None).prctl
            prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def end_group() -> None:
    """End this process and its group: the worker's process is gone."""
    os.killpg(0, signal.SIGKILL)


def has_children() -> bool:
    """Whether this process has children, living or not waited for; none of them is reaped by the question."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except AttributeError:  # macOS before Python 3.13: it cannot be asked, so the process is not used again
        return True
    return True


def kill_all(leader: int) -> None:
    """Kill a process that leads a group, the group, and on Linux what has left it; called before it is reaped."""
    for pid in descendants(leader):
        _kill(pid)
    try:
        os.killpg(leader, signal.SIGKILL)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):  # EPERM: nothing but a zombie is left, on macOS
            raise
        _kill(leader)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """The children of a process, theirs, and so on; empty where there is no /proc."""
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
