"""Duties: services of one shape. Any number of processes may run the same duty at once; none leads."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from jobfleet.client.verbs import Verb
from jobfleet.errors import JobfleetError
from jobfleet.metrics.tally import Tally
from jobfleet.store.aio import AsyncStore

log = logging.getLogger("jobfleet.reaper")
AFTER_ERROR = 1.0


async def drive(store: AsyncStore, verb: Verb[Any]) -> Any:
    """Do what a client's verb does."""
    answers: Any = None
    try:
        while True:
            answers = await store.run_many(verb.send(answers))
    except StopIteration as end:
        return end.value


class Service(ABC):
    """A duty that is done again and again.

    Args:
        tally: Where it counts.
    """

    name = "service"

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def turn(self) -> float:
        """Do it once; answer the seconds until the next time."""

    def start(self) -> None:
        """Begin."""
        if self._task is None:
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
                self.tally.count("reaper_turns_total", (self.name,))
            except JobfleetError as error:
                log.warning("%s.stumbled %s", self.name, error)
                wait = AFTER_ERROR
            except Exception:
                log.exception("%s.stumbled", self.name)  # one bad record must not end a duty of the fleet
                wait = AFTER_ERROR
            await asyncio.sleep(wait * random.uniform(0.9, 1.0))
