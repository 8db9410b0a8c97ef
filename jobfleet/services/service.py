"""Duties: services of one shape. Any number of processes may run the same duty at once; none leads."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, NamedTuple

from jobfleet.clock import monotonic, wall_us
from jobfleet.errors import JobfleetError
from jobfleet.metrics.tally import Tally
from jobfleet.operations.operation import Operation
from jobfleet.services.repeated_fault import RepeatedFault
from jobfleet.store.aio import AsyncStore

log = logging.getLogger("jobfleet.reaper")
AFTER_ERROR = 1.0


async def drive(store: AsyncStore, verb: Operation[Any]) -> Any:
    """Do what a client's verb does."""
    answers: Any = None
    try:
        while True:
            answers = await store.run_many(verb.send(answers))
    except StopIteration as end:
        return end.value


class DutySeen(NamedTuple):
    """How a duty fares.

    Attributes:
        name: Its name.
        idle: Seconds since its last good turn, or since it began.
        spacing: Seconds it meant to let go by until the next.
        succeeded_at: When its last good turn ended, seconds since 1970; 0 when there was none.
        trouble: What its last turn stumbled over; empty when it did not.
    """

    name: str
    idle: float
    spacing: float
    succeeded_at: float
    trouble: str


class Service(ABC):
    """A duty that is done again and again.

    Args:
        tally: Where it counts.
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
        """How it fares."""
        idle = monotonic() - self._turned
        return DutySeen(self.name, idle, self._spacing_now, self._succeeded_at, self._trouble)

    @abstractmethod
    async def turn(self) -> float:
        """Do it once; answer the seconds until the next time."""

    def start(self) -> None:
        """Begin."""
        if self._task is None:
            self._turned = monotonic()
            self._task = asyncio.get_running_loop().create_task(self._go_on())

    async def stop(self) -> None:
        """End, and wait for it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _go_on(self) -> None:
        while True:
            try:
                wait = await self.turn()
                self.tally.count("reaper_runs_total", (self.name,))
                self._turned, self._spacing_now = monotonic(), wait
                self._succeeded_at, self._trouble = wall_us() / 1e6, ""
                self._faults.fine()
            except JobfleetError as error:
                self._trouble, wait = str(error), AFTER_ERROR
                self._faults.failed(self._trouble)
            except Exception as error:  # noqa: BLE001 - one bad record must not end a duty of the fleet
                self._trouble, wait = f"{type(error).__name__}: {error}", AFTER_ERROR
                self._faults.failed(self._trouble, level=logging.ERROR, error=error)
            await asyncio.sleep(wait * random.uniform(0.9, 1.0))
