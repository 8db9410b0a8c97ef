"""The isolated processes of one child: warm ones for whoever comes, and those that functions have set up.

A process that bears a limit, or an environment, is kept for its function. One that ran a job which was
stopped, or which left children behind, is not used again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterable, Sequence

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.functions.isolation import Isolation
from jobfleet.worker.executors.isolated.isolated_process import Cell
from jobfleet.worker.ipc.exit_codes import how_it_died

log = logging.getLogger("jobfleet.worker")
IDLE = 60.0
"""Seconds that a process without a job is kept beyond the spare ones."""
LEAVING = 1.0
"""Seconds that a process may take to close what it has opened."""
STEP = 0.002
BACK_OFF = 5.0
"""Seconds before the next attempt when a spare process could not be started."""


def dismiss_all(cells: Iterable[Cell]) -> None:
    """Let processes leave that have nothing to do, and wait a moment until those that are ready have."""
    leaving = []
    for cell in cells:
        cell.dismiss()
        if cell.is_ready:
            leaving.append(cell)
    deadline = monotonic() + LEAVING
    while monotonic() < deadline and not all(cell.has_ended() for cell in leaving):
        time.sleep(STEP)


def greeting(word: str, child: str, config: JobConfig, modules: Sequence[str]) -> list[object]:
    """The first frame to a process: ``hello``, or ``ward`` to one that runs several jobs at once; what it loads."""
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
        self._all: set[Cell] = set()
        self._idle: dict[Cell, asyncio.TimerHandle | None] = {}
        self._filling: asyncio.TimerHandle | None = None
        self._is_closed = False

    def fill(self) -> None:
        """Start spare processes, so that the next job finds one that is warm."""
        self._filling = None
        spare = self._config.spare_processes
        while not self._is_closed and sum(1 for cell in self._idle if not cell.kept_for) < spare:
            try:
                self._idle[self._start({})] = None
            except OSError as error:
                log.warning("isolated.not_started %s", error)
                self._fill_later(BACK_OFF)
                return

    def take(self, name: str, isolation: Isolation, *, memory: int) -> Cell:
        """A process for one job of a function; it may still be loading its modules.

        Args:
            name: The function.
            isolation: What it asks for.
            memory: Bytes that this job may have; 0 for no limit. A process that had a limit may never lose it.

        Raises:
            OSError: None can be started.
        """
        kept_for = f"{name} {memory}" if isolation.is_bound else ""
        cell = self._find(kept_for, isolation)
        if cell is None:
            cell = self._start(dict(isolation.environment))
        else:
            timer = self._idle.pop(cell)
            if timer is not None:
                timer.cancel()
        cell.kept_for = kept_for
        self._fill_later(0.0)
        return cell

    def _find(self, kept_for: str, isolation: Isolation) -> Cell | None:
        own = [cell for cell in self._idle if cell.kept_for == kept_for]
        if not own and kept_for and not isolation.environment:
            own = [cell for cell in self._idle if not cell.kept_for and cell.is_fresh]
        ready = [cell for cell in own if cell.is_ready]
        return ready[-1] if ready else own[0] if own else None

    def give_back(self, cell: Cell) -> None:
        """Take a process back whose job is over, for the next one."""
        cell.on_frame = None
        cell.is_fresh = False
        if cell not in self._all:
            return
        self._idle[cell] = self._loop.call_later(IDLE, self._expire, cell)
        most = self._config.slots + self._config.spare_processes
        if len(self._idle) > most:
            self._dismiss(next(iter(self._idle)))

    def _expire(self, cell: Cell) -> None:
        """Let a process go that had nothing to do, unless it is one of the spare ones."""
        spare = sum(1 for one in self._idle if not one.kept_for)
        if cell in self._idle and (cell.kept_for or spare > self._config.spare_processes):
            self._dismiss(cell)
        elif cell in self._idle:
            self._idle[cell] = self._loop.call_later(IDLE, self._expire, cell)

    def _dismiss(self, cell: Cell) -> None:
        """Let a process go that has nothing to do."""
        self._forget(cell)
        cell.dismiss()
        self._loop.call_later(LEAVING, cell.kill)

    def retire(self, cell: Cell) -> None:
        """End a process, and all it has started."""
        cell.on_frame = None
        self._forget(cell)
        cell.kill()

    def _forget(self, cell: Cell) -> None:
        """It is not for the next job."""
        timer = self._idle.pop(cell, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """End all processes: those without a job may leave by themselves, which takes a moment."""
        self._is_closed = True
        if self._filling is not None:
            self._filling.cancel()
        idle = list(self._idle)
        for cell in idle:
            self._forget(cell)
        dismiss_all(idle)
        for cell in self._all:
            cell.close()
        self._all.clear()
        self._idle.clear()

    def _start(self, environment: dict[str, str]) -> Cell:
        config = self._config
        hello = greeting("hello", self._child, config, self._modules)
        cell = Cell(hello, max_payload=config.max_payload, environment=environment, on_death=self._died)
        self._all.add(cell)
        return cell

    def _died(self, cell: Cell, code: int) -> None:
        self._all.discard(cell)
        self._forget(cell)
        if not cell.is_ready and not self._is_closed and cell.on_frame is None:
            log.error("isolated.not_started %s", cell.refusal or how_it_died(code))
            self._fill_later(BACK_OFF)
        if cell.on_frame is not None:
            cell.on_frame(["died", code])

    def _fill_later(self, delay: float) -> None:
        if self._filling is None and not self._is_closed:
            self._filling = self._loop.call_later(delay, self.fill)
