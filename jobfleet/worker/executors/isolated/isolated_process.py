"""`IsolatedProcess`: starts one isolated process, sends it frames, kills it and reaps it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from jobfleet.worker.executors.isolated.channel import Line
from jobfleet.worker.executors.isolated.death_watch import DeathWatch
from jobfleet.worker.executors.isolated.rlimits import oom_kills

log = logging.getLogger("jobfleet.worker")
DIED = "died"
"""The frame for its death. Only the watcher sends it."""
PROGRAM = "jobfleet.worker.executors.isolated.main"


class IsolatedProcess:
    """One isolated process. It is a new interpreter and leads its own process group.

    Args:
        hello: The first frame, which lists what it loads.
        max_payload: The maximal size of a payload or result in bytes.
        environment: Further environment variables.
        on_death: Called once with its exit code, after its last frame.

    Attributes:
        pid: Its process.
        reserved_for: The function that it is set up for, with its memory limit; empty if it suits any function.
        is_fresh: Whether it has not run anything yet.
        is_ready: Whether its modules are loaded.
        refusal: Why it could not load its modules.
        garbage: The error of an invalid frame that it has sent. It was killed for it.
        on_frame: Called with each of its frames.
        oom_kills: The number of out-of-memory kills in the control group when it was started.
        cpu_used: The CPU time in seconds that it had used when it ended.
    """

    def __init__(
        self,
        hello: list[Any],
        *,
        max_payload: int,
        environment: Mapping[str, str],
        on_death: Callable[[IsolatedProcess, int], None],
    ) -> None:
        self.reserved_for = ""
        self.is_fresh = True
        self.is_ready = False
        self.refusal: str | None = None
        self.garbage: str | None = None
        self.on_frame: Callable[[list[Any]], None] | None = None
        self.oom_kills = oom_kills()
        self.cpu_used = 0.0
        self._on_death = on_death
        self._loop = asyncio.get_running_loop()
        self._is_over = False
        ours, theirs = socket.socketpair()
        # The kernel signals the group only while the read end is open, and the other process may die just before this
        # one. At an exit, Linux releases the higher descriptor first, which is the write end: so this process keeps the
        # read end, too.
        self._lifeline = os.pipe()
        given = (theirs.fileno(), self._lifeline[0])
        words = [*map(str, given), str(os.getpid()), str(max_payload)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM, *words],
                pass_fds=given,
                stdin=subprocess.DEVNULL,
                process_group=0,
                env={**os.environ, **environment} if environment else None,
            )
        except BaseException:
            ours.close()
            self._cut()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._line = Line(ours, max_payload, self._heard, self._garbled)
        self._line.send(*hello)
        self._watch = DeathWatch(self.pid, self._loop, self._died)

    def send(self, *frame: Any) -> None:
        """Send it a frame."""
        if not self._is_over:
            self._line.send(*frame)

    def signal(self, number: int) -> None:
        """Send the process a signal, not its group."""
        if not self._is_over:
            self._watch.signal(number)

    def dismiss(self) -> None:
        """Ask it to leave by itself and close what it has opened. The caller kills it if it does not."""
        self.send("leave")

    def has_ended(self) -> bool:
        """Whether its process has ended, even if its death was not noticed yet."""
        return self._is_over or self._watch.has_ended()

    def kill(self) -> None:
        """Kill it and everything that it has started. Its death is reported as usual."""
        if not self._is_over:
            self._watch.kill()

    def close(self) -> None:
        """Kill and reap it now, without a report."""
        self._on_death, self.on_frame = _no_callback, None
        if not self._is_over:
            self._died()

    def _garbled(self, error: Exception) -> None:
        """It has sent an invalid frame. Nothing that it sends can be trusted any more, so it is killed."""
        self.garbage = f"{type(error).__name__}: {error}"[:200]
        log.warning("isolated.garbled pid=%d %s", self.pid, self.garbage)
        self.kill()

    def _heard(self, frame: list[Any]) -> None:
        if not isinstance(frame, list) or not frame or not isinstance(frame[0], str) or frame[0] == DIED:
            raise ValueError(f"{frame!r:.80} is not a frame")
        if frame[0] == "ready":
            self.is_ready = True
        elif frame[0] == "refused":
            self.refusal = frame[1]
        elif self.on_frame is not None:
            self.on_frame(frame)

    def _died(self) -> None:
        """Its process has ended: kill its group while its id is not reused, reap it, and release everything."""
        if self._is_over:
            return
        self._is_over = True
        code, self.cpu_used = self._watch.end()
        self._process.returncode = code
        self._line.read_all()
        self._line.close()
        self._cut()
        self._on_death(self, code)

    def _cut(self) -> None:
        for end in self._lifeline:
            os.close(end)


def _no_callback(_job_process: IsolatedProcess, _code: int) -> None:
    """Nobody asks any more."""
