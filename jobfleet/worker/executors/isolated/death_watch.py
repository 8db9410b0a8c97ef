"""`DeathWatch`: notices that a process has ended, and reaps it.

Others in this process wait for their children by id too, so only this process is asked for. Where the system allows
it, the process stays unreaped until its group was killed, because the group id cannot be reused before.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

from jobfleet.worker.executors.isolated.process_group import kill_all, kill_group

UNKNOWN = 255
"""The exit code of a process that somebody else has reaped."""
LOOK_EVERY = 0.02
"""Seconds between two looks where neither a pidfd nor `os.waitid` exists: on macOS before Python 3.13."""
End = tuple[int, float]
"""An exit code, and the CPU time in seconds that the process had used."""


class DeathWatch:
    """Watches one child process.

    Args:
        pid: The process, which leads its group.
        loop: The loop of the owner.
        on_death: Called on the loop when the process has ended. The owner calls `end` then.
    """

    def __init__(self, pid: int, loop: asyncio.AbstractEventLoop, on_death: Callable[[], None]) -> None:
        self._pid = pid
        self._loop = loop
        self._on_death = on_death
        self._end: End | None = None
        self._lock = threading.Lock()
        """Guards the process id: after the process is reaped, another one may have it."""
        self._is_over = threading.Event()
        self._pidfd = _pidfd_of(pid)
        if self._pidfd is not None:
            loop.add_reader(self._pidfd, on_death)
        else:
            wait = self._await if hasattr(os, "waitid") else self._look
            threading.Thread(target=wait, name=f"jobfleet-watch-{pid}", daemon=True).start()

    def signal(self, number: int) -> None:
        """Send the process a signal, not its group."""
        with self._lock:
            if self._end is None:
                os.kill(self._pid, number)

    def kill(self) -> None:
        """Kill the process and everything that it has started."""
        with self._lock:
            if self._end is None:
                kill_all(self._pid)

    def has_ended(self) -> bool:
        """Whether the process has ended, even if its death was not noticed yet."""
        if not hasattr(os, "waitid"):
            return self._reaped(os.WNOHANG) is not None
        try:
            return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def end(self) -> End:
        """Watch no more, kill what is left of the group, and reap the process."""
        self._is_over.set()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self.kill()
        return self._reaped(0) or (UNKNOWN, 0.0)

    def _await(self) -> None:
        try:
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
            self._loop.call_soon_threadsafe(self._on_death)
        except (ChildProcessError, RuntimeError):  # reaped by `end`, or the loop is closed
            return

    def _look(self) -> None:
        """Look again and again. A look reaps the process, so its group is killed with it."""
        while self._reaped(os.WNOHANG) is None:
            if self._is_over.wait(LOOK_EVERY):
                return
        try:
            self._loop.call_soon_threadsafe(self._on_death)
        except RuntimeError:  # the loop is closed
            return

    def _reaped(self, flags: int) -> End | None:
        """Reap the process; None if it has not ended, and `flags` do not wait for it."""
        with self._lock:
            if self._end is None:
                try:
                    pid, status, usage = os.wait4(self._pid, flags)
                except ChildProcessError:  # a job of this process has waited for every child there is
                    self._end = (UNKNOWN, 0.0)
                else:
                    if pid == 0:
                        return None
                    self._end = (os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime)
                    if flags:  # otherwise it was killed before
                        kill_group(self._pid)
            return self._end


def _pidfd_of(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # an older kernel, or no descriptors left
        return None
