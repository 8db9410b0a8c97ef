"""Lanes whose cluster node does not reply: their claims are repeated beside the claims of other lanes.

A claim without a reply may have run. So its slots are reserved until it is answered, under the same nonce.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, KeysView
from functools import partial

from jobfleet.services.long_lived import start
from jobfleet.store.keys import Lane

log = logging.getLogger("jobfleet.worker")

PATIENCE = 0.5
"""Seconds for which a claim is retried before its lane counts as away, if there are other lanes."""


class AwayLanes:
    """The lanes that are away from one child.

    Args:
        free: Returns the number of free slots.
        repeat: Repeats the claim of a lane, without jobs of its own. Returns whether it was answered.
        back: Receives each lane whose claim was answered.
    """

    def __init__(
        self, free: Callable[[], int], repeat: Callable[[Lane], Awaitable[bool]], back: Callable[[Lane], None]
    ) -> None:
        self._free = free
        self._repeat = repeat
        self._back = back
        self._limits: dict[Lane, int] = {}
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._reserved = 0

    @property
    def lanes(self) -> KeysView[Lane]:
        """The lanes."""
        return self._limits.keys()

    def free(self) -> int:
        """Return the number of free slots that no unanswered claim may need."""
        return self._free() - self._reserved

    def add(self, lane: Lane, limit: int) -> None:
        """Record that a claim of `limit` jobs was not answered."""
        if lane in self._limits:
            return
        self._limits[lane] = limit
        self._reserved += limit
        self._tasks[lane] = start(partial(self._ask, lane), log, "claims")
        log.warning("claim.away lane=%s its node accepts no claim now; other lanes are served", lane.tag)

    def cancel(self) -> None:
        """Stop the repetitions."""
        for task in self._tasks.values():
            task.cancel()
        for lane in list(self._limits):
            self._forget(lane)

    async def _ask(self, lane: Lane) -> None:
        is_answered = False
        while not is_answered:
            is_answered = await self._repeat(lane)
        self._forget(lane)
        log.info("claim.back lane=%s", lane.tag)
        self._back(lane)

    def _forget(self, lane: Lane) -> None:
        self._reserved -= self._limits.pop(lane)
        self._tasks.pop(lane, None)
