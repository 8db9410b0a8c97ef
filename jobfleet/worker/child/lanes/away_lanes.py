"""Lanes whose cluster node does not reply: their claims are repeated beside the claims of other lanes.

A claim without a reply may have run. It is repeated under the same nonce until it is answered. No slots are reserved
for it, because one node would keep the child from the jobs of all others. If the claim had brought more jobs than there
are free slots when its answer comes, the child gives the surplus back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, KeysView, Sequence
from functools import partial

from jobfleet.services.long_lived import start
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.settle import release, settle
from jobfleet.store.keys import Lane
from jobfleet.store.records import Claimed, Grant

log = logging.getLogger("jobfleet.worker")

PATIENCE = 0.5
"""Seconds for which a claim is retried before its lane counts as away, if there are other lanes."""


SLOW = 2.0
"""Seconds after which the lane of a node that accepts the claim and does not reply counts as away."""


async def in_time(claim: Awaitable[bool]) -> bool:
    """Whether a claim was answered soon: the child waits no longer, because other lanes may be on nodes that reply."""
    try:
        async with asyncio.timeout(SLOW):
            return await claim
    except TimeoutError:
        return False


def parted(claimed: Claimed, free: int) -> tuple[Claimed, Sequence[Grant]]:
    """Return a claim with the jobs for which there are free slots, and the other jobs."""
    return claimed._replace(grants=claimed.grants[: max(0, free)]), claimed.grants[max(0, free) :]


async def give_back(store: AsyncStore, lane: Lane, surplus: Sequence[Grant]) -> None:
    """Put jobs back that were claimed and not started; without a reply, their leases run out."""
    log.info("claim.surplus lane=%s jobs=%d go back: the slots were taken meanwhile", lane.tag, len(surplus))
    await store.run(settle(lane, [release(grant.id, grant.token) for grant in surplus]))


class AwayLanes:
    """The lanes that are away from one child.

    Args:
        repeat: Repeats the claim of a lane, without jobs of its own. Returns whether it was answered.
        back: Receives each lane whose claim was answered.
    """

    def __init__(self, repeat: Callable[[Lane], Awaitable[bool]], back: Callable[[Lane], None]) -> None:
        self._repeat = repeat
        self._back = back
        self._tasks: dict[Lane, asyncio.Task[None]] = {}

    @property
    def lanes(self) -> KeysView[Lane]:
        """The lanes."""
        return self._tasks.keys()

    def add(self, lane: Lane) -> None:
        """Record that the claim of a lane was not answered."""
        if lane in self._tasks:
            return
        self._tasks[lane] = start(partial(self._ask, lane), log, "claims")
        log.warning("claim.away lane=%s its node accepts no claim now; other lanes are served", lane.tag)

    def cancel(self) -> None:
        """Stop the repetitions."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def _ask(self, lane: Lane) -> None:
        is_answered = False
        while not is_answered:
            is_answered = await self._repeat(lane)
        self._tasks.pop(lane, None)
        log.info("claim.back lane=%s", lane.tag)
        self._back(lane)
