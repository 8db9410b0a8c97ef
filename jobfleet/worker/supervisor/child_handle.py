"""The supervisor's view of one child: its process, lease board and pipes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from jobfleet.clock import boottime, monotonic
from jobfleet.outcome import Cancelled, TimedOut
from jobfleet.services.long_lived import held_back
from jobfleet.worker.ipc.lease_board import LeaseBoardReader, Posted, create, nameless
from jobfleet.worker.ipc.protocol import END_LOADING, NOT_FOR_CHILDREN, Kind, Sender
from jobfleet.worker.ipc.usage import IS_SHOWN, Usage, usage_of


class ChildHandle:
    """A child process.

    Args:
        child: Its id.
        number: Its number among the children; its successor gets the same number.
        capacity: The capacity of its board in jobs.

    Attributes:
        pid: Its process id.
        reports: The descriptor from which its reports are read.
        running: Number of jobs that it runs, by its last report.
        has_reported: Whether any frame has come from it. Before the first one, it runs no code of the user.
        is_ready: Whether it has reported its functions and queues.
        ready_at: When it became ready (boot-time clock); 0 before that.
        queues: The queues that it serves.
        kind: Its kind; None until it is ready.
        pulsed_at: Its last claim or wait for jobs (boot-time clock); 0 before the first report.
        stopped_at: The time at which it was frozen (boot-time clock); None if it is not frozen.
        is_leaving: Whether it leaves by command, or was killed on purpose.
        is_replaced: Whether it will leave and has lost its number to a successor, or to nobody.
        is_draining: Whether it must not claim any more and must end.
        follows: The child that it replaces when it serves, and the grace of that child.
        kept_at: The time at which it was kept because its successor could not start (boot-time clock).
        is_hurried: Whether it must end soon, because other children are retiring too.
        killed_for: The reason for a kill on purpose, which becomes the error of its jobs; otherwise empty.
        refusal: The reason why it could not start: a line, and the traceback of the user's module.
        hearing: The task that reads its reports.
        born: The time of its start (boot-time clock).
        past: Its runs past their hard limit, and the observed seconds past it.
        asked: Running jobs that it must cancel: the requester, and the observed seconds since the request.
        verdicts: The outcomes of runs that only the end of the process can end.
        condemned_for: Observed seconds since it was condemned because of them; None if it is not condemned.
        examining: Number of lists of leases whose fate it has not reported yet.
        lone_since: The value of `condemned_for` when only such runs were left; None before.
    """

    def __init__(self, child: str, number: int, capacity: int) -> None:
        self.child = child
        self.number = number
        self.running = 0
        self.has_reported = False
        self.is_ready = False
        self.ready_at = 0.0
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
        self.examining = 0
        self._writing = asyncio.Lock()
        self._is_closed = False
        self._launch(capacity)

    def _launch(self, capacity: int) -> None:
        """Start the process, with its board and its pipes."""
        board, stacks = create(capacity), nameless("jobfleet-stacks")
        commands, down = os.pipe()
        up, reports = os.pipe()
        asked, asks = os.pipe()
        os.set_blocking(asks, False)
        given = (commands, reports, board, stacks, asked)
        command = [sys.executable, "-m", "jobfleet.worker.child.main", *map(str, given)]
        with held_back(NOT_FOR_CHILDREN):
            self._process = subprocess.Popen(command, pass_fds=given, stdin=subprocess.DEVNULL)
        for descriptor in (commands, reports, asked):
            os.close(descriptor)
        self.pid = self._process.pid
        self.reports = up
        self._down: Sender | None = Sender(down)
        self._board = LeaseBoardReader(board)
        self._stacks, self._asks = stacks, asks

    def hello(self, settings: Mapping[str, Any], modules: Sequence[str], app_dir: str, *, quiet: bool) -> None:
        """Send the child its id, its settings, and whether it may claim."""
        self.tell("hello", self.child, dict(settings), list(modules), app_dir, quiet)

    def tell(self, *frame: Any) -> None:
        """Send the child a frame."""
        if self._down is not None:
            self._down.send(*frame)

    def drain(self, grace: float | None) -> None:
        """Stop the child's claims, and let it end within `grace` seconds; None for as long as its jobs take.

        A child that has not begun to serve ends at once.
        """
        self.is_draining = True
        self.tell("drain", grace)
        if not self.is_ready:  # while it loads modules, it reads no frame
            self.is_leaving = True
            # Before its first report, Python still starts, and holds signals back; on a busy machine for seconds.
            self.kill(END_LOADING if self.has_reported else signal.SIGKILL)

    def cancel(self, job_id: str, token: int, by: str) -> None:
        """Send the child a request to cancel a running job, and remember it."""
        self.asked.setdefault((job_id, token), (by, 0.0))
        self.tell("cancel", job_id, token, by)

    def examine(self, leases: Sequence[tuple[str, int]]) -> None:
        """Send the child the leases that could not be renewed; it reports the lost ones, then that it is done."""
        self.examining += 1
        self.tell("lost", leases)

    def overdue(self, now: float) -> dict[tuple[str, int], float]:
        """Return the limit in seconds of each of its runs past the hard limit."""
        return {} if self._is_closed or not self._board.has_limits else self._board.overdue(now)

    def posted(self) -> list[Posted]:
        """Return the jobs that it holds; nothing after `close`, which may happen during a renewal."""
        return [] if self._is_closed else self._board.read()

    @property
    def turned_at(self) -> float:
        """The last turn of its event loop (boot-time clock); 0 if it need not turn."""
        return 0.0 if self._is_closed else self._board.turned_at

    @property
    def usage(self) -> Usage | None:
        """What it uses, as the system shows it or as it has reported itself; None if that is not known."""
        if IS_SHOWN:
            return usage_of(self.pid)
        return None if self._is_closed else self._board.usage

    async def stacks(self, timeout: float = 2.0) -> str:
        """Return the stacks of its threads, or what was written after `timeout` seconds."""
        return await self._written(lambda: self.kill(signal.SIGUSR1), timeout)

    async def stacks_with_jobs(self, timeout: float) -> str:
        """Return the stacks of its threads and tasks with their jobs; empty if it does not write them in time."""
        return await self._written(lambda: os.write(self._asks, b"?"), timeout)

    async def _written(self, ask: Callable[[], object], timeout: float) -> str:
        async with self._writing:  # the answers to two questions would mix
            return await self._write(ask, timeout)

    async def _write(self, ask: Callable[[], object], timeout: float) -> str:
        if self._is_closed:
            return ""
        os.ftruncate(self._stacks, 0)
        os.lseek(self._stacks, 0, os.SEEK_SET)  # the child inherited this descriptor and shares its offset
        with suppress(BlockingIOError, BrokenPipeError):
            ask()
        size, until = 0, monotonic() + timeout
        while monotonic() < until:
            await asyncio.sleep(0.05)
            before, size = size, 0 if self._is_closed else os.fstat(self._stacks).st_size
            if self._is_closed or 0 < size == before:
                break
        return "" if self._is_closed else os.pread(self._stacks, size, 0).decode(errors="replace").strip()

    def kill(self, number: int) -> None:
        """Send a signal to the child unless it has ended, because another process may have its process id by now."""
        if self.exit_code is None:
            os.kill(self.pid, number)

    def reaped(self, status: int) -> None:
        """Record the exit code, and release everything except the board."""
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._down is not None:
            self._down.close()
            self._down = None

    @property
    def exit_code(self) -> int | None:
        """The exit code, or the negative number of a signal; None while it runs."""
        return self._process.returncode

    def close(self) -> None:
        """Release the board."""
        self._is_closed = True
        self._board.close()
        os.close(self._stacks)
        os.close(self._asks)
