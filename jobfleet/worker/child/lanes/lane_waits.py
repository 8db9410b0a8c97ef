"""Waits for the markers of lanes in several slots of a cluster, where one command cannot wait for all of them.

Each lane has a wait of its own, on a connection of its own. When one ends, the others continue, also while the child is
busy: to end them would cost each lane a claim, because an ended wait may have taken a marker. A marker that comes
meanwhile is reported at once, so that the child claims, or puts the marker back if it has no free slot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Lane

log = logging.getLogger("jobfleet.worker")

MOST = 16
"""The maximal number of waits, and so of connections, at a time."""
TURN = 0.25
"""Seconds of a wait if there are more lanes: all are waited for in rotation, `MOST` at a time."""


class LaneWaits:
    """The waits of one child.

    Args:
        store: The connection.
        block: Seconds of a wait.
        taken: Receives each lane that is owed a claim, because its marker was taken, or may have been.
    """

    def __init__(self, store: AsyncStore, block: float, taken: Callable[[Lane], None]) -> None:
        self._store = store
        self._block = block
        self._taken = taken
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._turns: dict[Lane, int] = {}
        self._turn = 0

    async def any(self, lanes: Sequence[Lane], kind: str, *, without: Collection[Lane]) -> None:
        """Wait until one of the waits ends. Start those that are missing.

        Args:
            lanes: The lanes.
            kind: The kind of the child; see `AsyncStore.wait_wake`.
            without: Lanes whose node does not reply now.
        """
        missing = sorted((one for one in lanes if one not in self._tasks and one not in without), key=self._turn_of)
        timeout = self._block if len(lanes) <= MOST else TURN
        for lane in missing[: MOST - len(self._tasks)]:
            self._turn += 1
            self._turns[lane] = self._turn
            self._tasks[lane] = asyncio.create_task(self._wait(lane, timeout, kind))
        if self._tasks:
            await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        else:  # no node replies
            await asyncio.sleep(TURN)

    def cancel(self) -> list[Lane]:
        """End all waits. Return their lanes; each is owed a claim."""
        lanes = list(self._tasks)
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        return lanes

    def _turn_of(self, lane: Lane) -> int:
        return self._turns.get(lane, 0)

    async def _wait(self, lane: Lane, timeout: float, kind: str) -> None:
        try:
            found = await self._store.wait_wake((lane,), timeout, kind)
        except StoreUnavailable:  # the wait was cut off, and may have taken the marker
            found = lane
        except Exception as error:
            is_bug = not isinstance(error, JobfleetError)
            log.error("claim.deaf lane=%s polling every second %s", lane.tag, error, exc_info=is_bug)
            await asyncio.sleep(1.0)
            found = lane
        self._tasks.pop(lane, None)
        if found is not None:
            self._taken(lane)
