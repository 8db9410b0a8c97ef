"""Whoever ends a job that others wait for tells them at once; the relay duty does it when nobody near did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from jobfleet.errors import JobfleetError
from jobfleet.services.relay import Relay
from jobfleet.store.keys import Lane

log = logging.getLogger("jobfleet.worker")


class Teller:
    """Tells those who wait for jobs of this child.

    Args:
        relay: How.
        on_told: Is told when some have been, before this is no longer busy: jobs may have become due by it.
    """

    def __init__(self, relay: Relay, on_told: Callable[[], None]) -> None:
        self._relay = relay
        self._on_told = on_told
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._again: set[Lane] = set()

    @property
    def is_busy(self) -> bool:
        """Whether some are still to be told."""
        return bool(self._tasks)

    def tell(self, lane: Lane) -> None:
        """Tell what stands in a lane's outbox; never waits."""
        if lane in self._tasks:
            self._again.add(lane)  # what came meanwhile may have been written after it was read
            return
        task = self._tasks[lane] = asyncio.get_running_loop().create_task(self._tell(lane))
        task.add_done_callback(lambda _: self._tasks.pop(lane, None))

    async def _tell(self, lane: Lane) -> None:
        is_over = False
        while not is_over:
            self._again.discard(lane)
            try:
                await self._relay.relay(lane)
            except JobfleetError as error:
                log.warning("relay.stumbled lane=%s %s", lane.tag, error)
                return
            self._on_told()
            is_over = lane not in self._again

    async def drained(self, timeout: float) -> None:
        """Wait until all are told, but not for ever: the relay duty goes on where this ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*self._tasks.values())
