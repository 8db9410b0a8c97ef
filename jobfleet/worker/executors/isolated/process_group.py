"""Ties an isolated process to its worker's process, and its own children to it.

It leads its own process group, which is killed as a whole. On Linux the kernel does this when the worker's process is
gone, even during a computation: the read end of a pipe, whose write end the worker's process holds, is set to signal
the group with SIGKILL. If a fork of the worker's process still holds the write end, the signal for the death of the
parent lets the process end its group. That signal is not SIGKILL: the kernel may send it first, and then nobody would
have the read end when the write end is closed. On other systems a thread notices the end of the channel.
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
