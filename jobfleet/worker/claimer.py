"""Claiming: free slots over lanes in order; when nothing is to be had, block until a marker comes.

A lane is *hot* when a claim there may bring something: at the start, when its marker was taken, when
the last claim was filled, when a due time that is near has come. Whoever takes a marker owes the
lane one claim, so a marker taken without a free slot is put back by a claim of nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.lease import CHUNK, claim
from jobfleet.store.keys import Lane
from jobfleet.store.values import Claimed
from jobfleet.worker.turns import Priorities, queues_of

log = logging.getLogger("jobfleet.worker")

BLOCK = 30.0
PATIENCE = 2.0
LATE = 10.0
"""Seconds beyond its time-out after which a wait for a marker does not count as one any more."""
NEAR_US = 2_000_000


class Claimer:
    """Claims jobs for one child.

    Args:
        store: How; with endless patience.
        config: How long a claim holds, and in which order queues and priorities are served.
        child: The child's id.
        free: How many more jobs may be claimed now.
        admit: Takes what was claimed, from which lane, and until when the leases stand (boot-time clock).
        on_buried: Is told that the fleet believes this child dead.
    """

    def __init__(
        self,
        store: AsyncStore,
        config: JobConfig,
        *,
        child: str,
        free: Callable[[], int],
        admit: Callable[[Lane, Claimed, float], None],
        on_buried: Callable[[], None],
    ) -> None:
        self._store = store
        self._child = child
        self._lease_us = round(config.lease * 1e6)
        self._free = free
        self._admit = admit
        self._on_buried = on_buried
        self._loop = asyncio.get_running_loop()
        self._queues = queues_of(config.queue_order, config.queues)
        self._priorities = Priorities() if config.priorities == "weighted" else None
        self._hot: set[Lane] = set()
        self._owed: set[Lane] = set()
        self._nonces: dict[Lane, int] = {}
        self._timers: dict[Lane, asyncio.TimerHandle] = {}
        self._may_claim = asyncio.Event()
        self._may_block = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_quiet = False
        self._doubts = 0
        self._answered_at = boottime()
        self._waits_since: float | None = None
        self.is_empty = False
        """Whether the last claim in every lane came back short: a worker in a burst may go."""

    @property
    def pulse(self) -> float:
        """When a claim or a wait was answered last; now, while it waits or is told not to claim (boot-time clock)."""
        now = boottime()
        is_waiting = self._waits_since is not None and now - self._waits_since < BLOCK + LATE
        return now if self._is_quiet or is_waiting else self._answered_at

    def start(self) -> None:
        """Begin to claim."""
        self._tasks = [self._loop.create_task(self._claim_on()), self._loop.create_task(self._listen())]

    def serve(self, lanes: Sequence[Lane]) -> None:
        """Serve these lanes, the first first."""
        new = self._queues.serve(lanes)
        if new and self._tasks:  # whoever blocks now does so on the old lanes
            self._tasks[1].cancel()
            self._tasks[1] = self._loop.create_task(self._listen())
        for lane in new:
            self.heat(lane)

    def doubt(self, lane: Lane) -> None:
        """Believe no more that nothing is left in a lane: a job was put back since the last claim was sent."""
        self._doubts += 1
        self.is_empty = False
        self.heat(lane)

    def heat(self, lane: Lane) -> None:
        """Believe that a claim in a lane may bring something."""
        self._hot.add(lane)
        self.changed()

    def changed(self) -> None:
        """Look again: a slot was freed, or a lane became hot."""
        if self._is_quiet or self._may_claim.is_set():
            return
        if self._hot and (self._owed or self._free() > 0):
            self._may_claim.set()
        elif not self._hot and self._free() > 0:
            self._may_block.set()

    async def quiet(self) -> None:
        """Claim no more; a claim under way is admitted first, one that blocks is ended."""
        self._is_quiet = True
        self._may_claim.set()
        for timer in self._timers.values():
            timer.cancel()
        if self._tasks:
            claiming, listening = self._tasks
            listening.cancel()
            await asyncio.wait((claiming, listening), timeout=PATIENCE)
            claiming.cancel()  # Redis is away: what this claim may bring is found when the child is buried
            await asyncio.wait((claiming,))
            self._tasks = []

    def resume(self) -> None:
        """Claim again after `quiet`."""
        if self._is_quiet:
            self._is_quiet = False
            self._hot = set(self._queues.lanes)
            self.start()
            self.changed()

    async def _claim_on(self) -> None:
        while not self._is_quiet:
            free = min(self._free(), CHUNK)
            lane = self._queues.first(self._hot if free > 0 else self._owed)
            if lane is None:
                self._may_claim.clear()
                self.changed()
                if not self._may_claim.is_set():
                    await self._may_claim.wait()
                continue
            try:
                await self._claim_once(lane, max(0, free))
            except Exception:
                log.exception("claim.failed lane=%s", lane.tag)  # a child that claims no more must not look alive
                await asyncio.sleep(1.0)

    async def _claim_once(self, lane: Lane, limit: int) -> None:
        nonce = self._nonces[lane] = self._nonces.get(lane, 0) + 1
        sent, doubts = boottime(), self._doubts
        order = self._priorities.order(lane) if self._priorities is not None else ""
        try:
            claimed = await self._store.run(
                claim(lane, child=self._child, nonce=nonce, lease_us=self._lease_us, limit=limit, order=order)
            )
        except StoreUnavailable:
            return
        except JobfleetError as error:
            log.error("claim.failed lane=%s %s", lane.tag, error)
            await asyncio.sleep(1.0)
            return
        self._answered_at = boottime()
        self._owed.discard(lane)
        self._queues.took(lane, len(claimed.grants))
        if claimed.word == "buried":
            self._on_buried()
            self._is_quiet = True
            return
        if (len(claimed.grants) < limit or limit == 0) and doubts == self._doubts:
            self._hot.discard(lane)
            self._wait_for(lane, claimed)
        self.is_empty = not self._hot
        if claimed.grants:
            if self._priorities is not None:
                self._priorities.took(lane, claimed.grants)
            self._admit(lane, claimed, sent + self._lease_us / 1e6)

    def _wait_for(self, lane: Lane, claimed: Claimed) -> None:
        """A due time that is near is awaited here; a far one is a tick's to announce."""
        ahead = claimed.next_due - claimed.now
        timer = self._timers.pop(lane, None)
        if timer is not None:
            timer.cancel()
        if claimed.next_due and ahead <= NEAR_US:
            self._timers[lane] = self._loop.call_later(max(0, ahead) / 1e6 + 0.001, self.heat, lane)

    async def _listen(self) -> None:
        """Block on the lanes' markers while there is room and no lane is hot."""
        with suppress(asyncio.CancelledError):
            while True:
                await self._may_block.wait()
                self._may_block.clear()
                if self._hot or self._free() <= 0 or not self._queues.lanes:
                    continue
                self._waits_since = boottime()
                try:
                    lane = await self._store.wait_wake(self._queues.lanes, BLOCK)
                except JobfleetError as error:  # lanes on several slots, say: look into all of them, now and then
                    log.error("claim.deaf looking once a second %s", error)
                    await asyncio.sleep(1.0)
                    self._hot = set(self._queues.lanes)
                    self.changed()
                    continue
                finally:
                    self._answered_at, self._waits_since = boottime(), None
                if lane is not None:
                    self._owed.add(lane)
                    self.heat(lane)
                else:
                    self.changed()
