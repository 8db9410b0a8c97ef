"""A supervisor's view of one child: its process, its board, its pipes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jobfleet.clock import boottime, monotonic
from jobfleet.outcome import Cancelled, TimedOut
from jobfleet.worker.ipc.frames import Sender
from jobfleet.worker.ipc.kinds import Kind
from jobfleet.worker.ipc.lease_board import LeaseBoardReader, Posted, create, nameless


class ChildHandle:
    """One child.

    Args:
        child: Its id.
        number: Its place among the children; its successor takes the same.
        capacity: How many jobs its board holds.

    Attributes:
        pid: Its process.
        reports: The descriptor its reports come from.
        running: How many jobs it runs, as it said last.
        is_ready: Whether it has said what it knows and serves.
        queues: What it serves.
        kind: What it knows and serves, and the name of that; None until it is ready.
        pulsed_at: When it last claimed or waited for jobs (boot-time clock); 0 before it said so.
        stopped_at: Since when it is frozen (boot-time clock); None when it is not.
        is_leaving: Whether it was told to leave, or killed on purpose.
        is_replaced: Whether it is to go, and its place is another's, or nobody's.
        is_draining: Whether it was told to claim no more and end.
        follows: Whom it replaces as soon as it serves, and the grace that one gets.
        kept_at: When it was kept because its successor could not start (boot-time clock).
        is_hurried: Whether it was told to end soon, other children retiring too.
        killed_for: Why it was killed on purpose, to be said of the jobs it ran; empty when it was not.
        refusal: Why it could not start: a line, and what the user's module raised.
        hearing: The task that reads its reports.
        born: When it was started.
        past: Its runs past their hard limit, and for how many seconds of looks they were seen so.
        asked: Running jobs that it was told to cancel: by whom, and how many seconds of looks ago.
        verdicts: Its runs that nothing but its end can end, and what has become of them.
        condemned_for: For how many seconds of looks it is to be killed for them; None when it is not.
        lone_since: After how many of these seconds only such runs were left; None when it is not to be killed.
    """

    def __init__(self, child: str, number: int, capacity: int) -> None:
        self.child = child
        self.number = number
        self.running = 0
        self.is_ready = False
        self.queues: list[str] = []
        self.kind: Kind | None = None
        self.pulsed_at = 0.0
        self.stopped_at: float | None = None
        self.is_leaving = False
        self.is_replaced = False
        self.is_draining = False
        self.follows: tuple[ChildHandle, float | None] | None = None
        self.kept_at = float("-inf")
        self.is_hurried = False
        self.killed_for = ""
        self.refusal: tuple[str, str] | None = None
        self.hearing: asyncio.Task[None] | None = None
        self.born = boottime()
        self.past: dict[tuple[str, int], float] = {}
        self.asked: dict[tuple[str, int], tuple[str, float]] = {}
        self.verdicts: dict[tuple[str, int], TimedOut | Cancelled] = {}
        self.condemned_for: float | None = None
        self.lone_since: float | None = None
        board, stacks = create(capacity), nameless("jobfleet-stacks")
        commands, down = os.pipe()
        up, reports = os.pipe()
        given = (commands, reports, board, stacks)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobfleet.worker.child.main", *map(str, given)],
            pass_fds=given,
            stdin=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(reports)
        self.pid = self._process.pid
        self.reports = up
        self._down: Sender | None = Sender(down)
        self._board = LeaseBoardReader(board)
        self._stacks = stacks
        self._is_closed = False

    def hello(self, settings: Mapping[str, Any], modules: Sequence[str], app_dir: str, *, quiet: bool) -> None:
        """Tell it who it is, and whether it may claim."""
        self.tell("hello", self.child, dict(settings), list(modules), app_dir, quiet)

    def tell(self, *frame: Any) -> None:
        """Send it a frame."""
        if self._down is not None:
            self._down.send(*frame)

    def drain(self, grace: float | None) -> None:
        """Let it claim no more, and end within so many seconds; None for as long as its jobs take."""
        self.is_draining = True
        self.tell("drain", grace)

    def cancel(self, job_id: str, token: int, by: str) -> None:
        """Tell it that a running job is to stop, and remember it."""
        self.asked.setdefault((job_id, token), (by, 0.0))
        self.tell("cancel", job_id, token, by)

    def overdue(self, now: float) -> dict[tuple[str, int], float]:
        """Its runs past their hard limit, which is in seconds."""
        return {} if self._is_closed or not self._board.has_limits else self._board.overdue(now)

    def posted(self) -> list[Posted]:
        """What it holds; nothing once the board is let go, which may be in the middle of a renewal."""
        return [] if self._is_closed else self._board.read()

    @property
    def turned_at(self) -> float:
        """When its event loop turned last (boot-time clock); 0 when it need not turn."""
        return 0.0 if self._is_closed else self._board.turned_at

    async def stacks(self, timeout: float = 2.0) -> str:
        """The stacks of its threads, whatever they do; what there is after `timeout` seconds."""
        if self._is_closed:
            return ""
        os.ftruncate(self._stacks, 0)
        os.lseek(self._stacks, 0, os.SEEK_SET)  # the child writes where this descriptor stands: it is the same one
        self.kill(signal.SIGUSR1)
        size, until = 0, monotonic() + timeout
        while monotonic() < until:
            await asyncio.sleep(0.05)
            before, size = size, 0 if self._is_closed else os.fstat(self._stacks).st_size
            if self._is_closed or 0 < size == before:
                break
        return "" if self._is_closed else os.pread(self._stacks, size, 0).decode(errors="replace").strip()

    def kill(self, number: int) -> None:
        """Send it a signal, unless it has ended: its number may be another's by now."""
        if self.exit_code is None:
            os.kill(self.pid, number)

    def reaped(self, status: int) -> None:
        """Its process is gone: note the code, and let everything go but the board's last words."""
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._down is not None:
            self._down.close()
            self._down = None

    @property
    def exit_code(self) -> int | None:
        """Its exit code; the negative number of a signal."""
        return self._process.returncode

    def close(self) -> None:
        """Let the board go."""
        self._is_closed = True
        self._board.close()
        os.close(self._stacks)
