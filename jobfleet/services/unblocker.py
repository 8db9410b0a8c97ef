"""Whoever ends a job that others wait for tells them at once; the leases duty does it when nobody near did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from jobfleet.errors import JobfleetError
from jobfleet.services.relay import Relay
from jobfleet.store.keys import Lane

log = logging.getLogger("jobfleet.worker")


class Unblocker:
    """Tells those who wait for jobs of some lanes, one task per lane that has something to tell.

    Args:
        relay: How.
        on_told: Is told when some have been, before this is no longer busy: jobs may have become due by it.
    """

    def __init__(self, relay: Relay, on_told: Callable[[], None] = lambda: None) -> None:
        self._relay = relay
        self._on_told = on_told
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._asked: dict[Lane, bool] = {}  # and whether all that stands there is to be told

    @property
    def is_busy(self) -> bool:
        """Whether some are still to be told."""
        return bool(self._tasks)

    def tell(self, lane: Lane) -> None:
        """Tell what stands in a lane's outbox; never waits."""
        self._asked[lane] = True  # a task that is under way looks again: this may have been written after its last look
        self._begin(lane)

    def stand_in(self, lane: Lane) -> None:
        """Tell what others have written to a lane's outbox and do not tell themselves; never waits."""
        self._asked.setdefault(lane, False)
        self._begin(lane)

    def _begin(self, lane: Lane) -> None:
        if lane not in self._tasks:
            self._tasks[lane] = asyncio.get_running_loop().create_task(self._tell(lane))

    async def _tell(self, lane: Lane) -> None:
        try:
            while lane in self._asked:
                tells_all = self._asked.pop(lane)
                try:
                    await (self._relay.relay(lane) if tells_all else self._relay.stand_in((lane,)))
                except Exception as error:  # what one record did must not keep the next from being told
                    is_bug = not isinstance(error, JobfleetError)
                    log.warning("relay.stumbled lane=%s %s", lane.tag, error, exc_info=is_bug)
                    continue
                self._on_told()
        finally:
            # Here, with no await since the last look at what was asked. A done-callback would run later, and who asks
            # in between would find a task that looks no more.
            del self._tasks[lane]

    async def drained(self, timeout: float) -> None:
        """Wait until all are told, but not for ever: the leases duty goes on where this ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*self._tasks.values())
