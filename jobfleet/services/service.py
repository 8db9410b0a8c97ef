"""The common form of all duties. Any number of processes may run the same duty at once; there is no leader."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import NamedTuple

from jobfleet.clock import monotonic, wall_us
from jobfleet.errors import EncodingError, JobNotFound, ScriptContractError
from jobfleet.metrics.tally import Tally
from jobfleet.services.long_lived import RepeatedFault, Restarts, describe, keep_running
from jobfleet.store.aio import cancelled
from jobfleet.store.rows import NOT_READ, report

log = logging.getLogger("jobfleet.reaper")
AFTER_ERROR = 1.0


class DutySeen(NamedTuple):
    """The state of a duty.

    Attributes:
        name: Its name.
        idle: Seconds since its last successful turn, or since its start.
        spacing: Planned seconds until its next turn.
        succeeded_at: Time of its last successful turn, in seconds since 1970; 0 if there was none.
        trouble: The error of its last turn; empty if it succeeded.
    """

    name: str
    idle: float
    spacing: float
    succeeded_at: float
    trouble: str


class Service(ABC):
    """A duty that runs in turns.

    Args:
        tally: Counts the metrics.
    """

    name = "service"

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._task: asyncio.Task[None] | None = None
        self._turned, self._spacing_now = monotonic(), 0.0
        self._succeeded_at, self._trouble = 0.0, ""
        self._faults = RepeatedFault(log, self.name)

    @property
    def seen(self) -> DutySeen:
        """The state of the duty."""
        idle = monotonic() - self._turned
        return DutySeen(self.name, idle, self._spacing_now, self._succeeded_at, self._trouble)

    @abstractmethod
    async def turn(self) -> float:
        """Run one turn; return the seconds until the next one."""

    def start(self) -> None:
        """Start the duty as a task."""
        if self._task is None:
            self._turned = monotonic()
            restarts = Restarts(AFTER_ERROR, AFTER_ERROR, steady=inf)
            running = keep_running(self._turn_on, self._faults, restarts=restarts, on_failure=self._turn_failed)
            self._task = asyncio.get_running_loop().create_task(running)

    async def stop(self) -> None:
        """Stop the duty, and wait until its task has ended."""
        task, self._task = self._task, None
        if task is not None:
            await cancelled(task)

    async def _turn_on(self) -> None:
        while True:
            wait = await self.turn()
            self.tally.count("reaper_runs_total", (self.name,))
            self._turned, self._spacing_now = monotonic(), wait
            self._succeeded_at, self._trouble = wall_us() / 1e6, ""
            self._faults.succeeded()
            await asyncio.sleep(wait * random.uniform(0.9, 1.0))

    @contextmanager
    def sparing(self, what: str) -> Iterator[None]:
        """Go on behind a row that cannot be processed because something in Redis is damaged. It is reported once.

        Args:
            what: The row, for the report.
        """
        try:
            yield
        except (ScriptContractError, EncodingError, JobNotFound, *NOT_READ) as error:
            report([f"the duty {self.name} cannot process {what}: {describe(error)}"])

    def _turn_failed(self, error: BaseException) -> None:
        self._trouble = describe(error)
