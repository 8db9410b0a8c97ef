"""The isolated processes of one child: warm ones for any function, and those that functions have set up.

A process with a limit or an environment of its own is kept for its function. A process is not used again after a job
that was stopped, or that has left child processes behind.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterable, Sequence

from jobfleet.clock import monotonic
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.errors import how_it_died
from jobfleet.functions.options import Isolation
from jobfleet.worker.executors.isolated.isolated_process import IsolatedProcess

log = logging.getLogger("jobfleet.worker")
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
    """Keeps isolated processes.

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
