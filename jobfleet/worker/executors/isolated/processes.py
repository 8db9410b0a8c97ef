"""The isolated processes of a child: starts them, keeps warm ones, sends them frames, and notices their ends."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.errors import how_it_died
from jobfleet.functions.options import Isolation
from jobfleet.worker.executors.isolated.channel import Line
from jobfleet.worker.executors.isolated.confinement import kill_all, kill_group, oom_kills

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


UNKNOWN = 255
"""The exit code of a process that somebody else has reaped."""
LOOK_EVERY = 0.02
"""Seconds between two looks where neither a pidfd nor `os.waitid` exists: on macOS before Python 3.13."""
End = tuple[int, float]
"""An exit code, and the CPU time in seconds that the process had used."""


class DeathWatch:
    """Watches one child process: notices that it has ended, and reaps it.

    Others in this process wait for their children by id too, so only this process is asked for. Where the system allows
    it, the process stays unreaped until its group was killed, because the group id cannot be reused before.

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


IDLE = 60.0
"""Seconds that a process without a job is kept beyond the spare ones."""
LEAVING = 1.0
"""Seconds that a process may take to close what it has opened."""
STEP = 0.002
BACK_OFF = 5.0
"""Seconds before the next attempt when a spare process could not be started."""


def dismiss_all(idle: Iterable[IsolatedProcess]) -> None:
    """Ask idle processes to leave, and wait a moment for those that have loaded their modules."""
    leaving = []
    for job_process in idle:
        job_process.dismiss()
        if job_process.is_ready:
            leaving.append(job_process)
    deadline = monotonic() + LEAVING
    while monotonic() < deadline and not all(job_process.has_ended() for job_process in leaving):
        time.sleep(STEP)


def greeting(word: str, child: str, config: JobConfig, modules: Sequence[str]) -> list[object]:
    """The first frame to a process: what it loads. It begins with ``hello``, or ``ward`` for a quarantine process."""
    return [word, child, config.plain(), list(modules), str(config.app_dir), [str(path) for path in sys.path]]


class Pool:
    """Keeps the isolated processes of one child: warm ones for any function, and those that functions have set up.

    A process with a limit or an environment of its own is kept for its function. A process is not used again after a
    job that was stopped, or that has left child processes behind.

    Args:
        child: The child they belong to.
        config: The settings.
        modules: What they load.
    """

    def __init__(self, child: str, config: JobConfig, modules: Sequence[str]) -> None:
        self._child = child
        self._config = config
        self._modules = list(modules)
        self._loop = asyncio.get_running_loop()
        self._all: set[IsolatedProcess] = set()
        self._idle: dict[IsolatedProcess, asyncio.TimerHandle | None] = {}
        self._filling: asyncio.TimerHandle | None = None
        self._is_closed = False

    def fill(self) -> None:
        """Start spare processes, so that the next job finds one that is warm."""
        self._filling = None
        spare = self._config.spare_processes
        while not self._is_closed and self._spare() < spare:
            try:
                self._idle[self._start({})] = None
            except OSError as error:
                log.warning("isolated.not_started %s", error)
                self._fill_later(BACK_OFF)
                return

    def take(self, name: str, isolation: Isolation, *, memory: int) -> IsolatedProcess:
        """A process for one job of a function. It may still be loading its modules.

        Args:
            name: The function.
            isolation: What it asks for.
            memory: The memory limit of this job in bytes; 0 for no limit. A process keeps its limit for ever.

        Raises:
            OSError: No process can be started.
        """
        reserved_for = f"{name} {memory}" if isolation.is_bound else ""
        job_process = self._find(reserved_for, isolation)
        if job_process is None:
            job_process = self._start(dict(isolation.environment))
        else:
            timer = self._idle.pop(job_process)
            if timer is not None:
                timer.cancel()
        job_process.reserved_for = reserved_for
        if self._spare() < self._config.spare_processes:
            self._fill_later(0.0)
        return job_process

    def _spare(self) -> int:
        """How many idle processes suit any function."""
        return sum(1 for one in self._idle if not one.reserved_for)

    def _find(self, reserved_for: str, isolation: Isolation) -> IsolatedProcess | None:
        own = [job_process for job_process in self._idle if job_process.reserved_for == reserved_for]
        if not own and reserved_for and not isolation.environment:
            own = [job_process for job_process in self._idle if not job_process.reserved_for and job_process.is_fresh]
        ready = [job_process for job_process in own if job_process.is_ready]
        return ready[-1] if ready else own[0] if own else None

    def give_back(self, job_process: IsolatedProcess) -> None:
        """Take back a process whose job has ended, for the next job."""
        job_process.on_frame = None
        job_process.is_fresh = False
        if job_process not in self._all:
            return
        self._idle[job_process] = self._loop.call_later(IDLE, self._expire, job_process)
        most = self._config.slots + self._config.spare_processes
        if len(self._idle) > most:
            self._dismiss(next(iter(self._idle)))

    def _expire(self, job_process: IsolatedProcess) -> None:
        """End an idle process, unless it is a spare one."""
        is_needless = job_process.reserved_for or self._spare() > self._config.spare_processes
        if job_process in self._idle and is_needless:
            self._dismiss(job_process)
        elif job_process in self._idle:
            self._idle[job_process] = self._loop.call_later(IDLE, self._expire, job_process)

    def _dismiss(self, job_process: IsolatedProcess) -> None:
        """Ask an idle process to leave, and kill it later."""
        self._forget(job_process)
        job_process.dismiss()
        self._loop.call_later(LEAVING, job_process.kill)

    def retire(self, job_process: IsolatedProcess) -> None:
        """Kill a process and everything that it has started."""
        job_process.on_frame = None
        self._forget(job_process)
        job_process.kill()

    def _forget(self, job_process: IsolatedProcess) -> None:
        """Remove a process from the idle ones."""
        timer = self._idle.pop(job_process, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """End all processes. Idle processes may leave by themselves, which takes a moment."""
        self._is_closed = True
        if self._filling is not None:
            self._filling.cancel()
        idle = list(self._idle)
        for job_process in idle:
            self._forget(job_process)
        dismiss_all(idle)
        for job_process in self._all:
            job_process.close()
        self._all.clear()
        self._idle.clear()

    def _start(self, environment: dict[str, str]) -> IsolatedProcess:
        config = self._config
        hello = greeting("hello", self._child, config, self._modules)
        job_process = IsolatedProcess(
            hello, max_payload=limits_of(config).max_bytes, environment=environment, on_death=self._died
        )
        self._all.add(job_process)
        return job_process

    def _died(self, job_process: IsolatedProcess, code: int) -> None:
        self._all.discard(job_process)
        self._forget(job_process)
        if not job_process.is_ready and not self._is_closed and job_process.on_frame is None:
            log.error("isolated.not_started %s", job_process.refusal or how_it_died(code))
            self._fill_later(BACK_OFF)
        if job_process.on_frame is not None:
            job_process.on_frame(["died", code])

    def _fill_later(self, delay: float) -> None:
        if self._filling is None and not self._is_closed:
            self._filling = self._loop.call_later(delay, self.fill)
