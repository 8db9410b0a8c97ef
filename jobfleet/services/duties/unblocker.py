"""Notifies dependants immediately after a parent ends; the leases duty is the fallback if this process dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from jobfleet.errors import JobfleetError
from jobfleet.services.duties.relay import Relay
from jobfleet.store.keys import Lane

log = logging.getLogger("jobfleet.worker")


class Unblocker:
    """Notifies the dependants of jobs in some lanes, with one task per lane that has pending endings.

    Args:
        relay: Sends the notifications.
        on_unblocked: Called after some dependants were notified, before `is_busy` turns false; jobs may now be due.
    """

    def __init__(self, relay: Relay, on_unblocked: Callable[[], None] = lambda: None) -> None:
        self._relay = relay
        self._on_unblocked = on_unblocked
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._asked: dict[Lane, bool] = {}  # lane → whether to process all of its endings

    @property
    def is_busy(self) -> bool:
        """Whether some dependants are still to be notified."""
        return bool(self._tasks)

    def tell(self, lane: Lane) -> None:
        """Process the outbox of a lane; returns immediately."""
        self._asked[lane] = True  # a running task checks again, because this ending may be newer than its last check
        self._begin(lane)

    def stand_in(self, lane: Lane) -> None:
        """Process endings in a lane's outbox that their writer does not process; returns immediately."""
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
                except Exception as error:  # one bad record must not block the next
                    is_bug = not isinstance(error, JobfleetError)
                    log.warning("relay.stumbled lane=%s %s", lane.tag, error, exc_info=is_bug)
                    continue
                self._on_unblocked()
        finally:
            # Delete here, with no await since the last check of `_asked`. A done callback would run later, and a caller
            # in between would find a task that does not check again.
            del self._tasks[lane]

    async def drained(self, timeout: float) -> None:
        """Wait until all dependants are notified, up to `timeout` seconds; the leases duty continues with the rest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*self._tasks.values())
