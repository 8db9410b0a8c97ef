"""Claiming: free slots over lanes in order; when nothing is to be had, block until a marker comes.

A lane is *hot* when a claim there may bring something: at the start, when its marker was taken, when
the last claim was filled, when a due time that is near has come. Whoever takes a marker owes the
lane one claim, so a marker taken without a free slot is put back by a claim of nothing.

While jobs keep coming, and one lane is served, a wait brings its claim along: the server runs it as soon
as the marker is taken, which saves a round trip. Its reply may be lost, or the wait ended from here,
and then nobody knows whether it ran. So a claim's nonce is used until it is answered, whichever way:
asked again, a claim that has run answers its grants, and one that arrives late does nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.lease import CHUNK, NEAR_US, claim, granted
from jobfleet.store.keys import Lane
from jobfleet.store.records import NOTHING, Claimed
from jobfleet.worker.child.claim_size import ClaimSize
from jobfleet.worker.child.lane_order import Priorities, queues_of
from jobfleet.worker.child.lookahead import Lookahead
from jobfleet.worker.child.routing import Router
from jobfleet.worker.run.events import RunEvents

log = logging.getLogger("jobfleet.worker")

BLOCK = 3.0
"""Seconds that a wait for a marker lasts. A connection that is half open takes no marker, and nobody says so: an idle
child notices after such a wait and the link's `LATE`."""
PATIENCE = 2.0
LATE = 10.0
"""Seconds beyond its time-out after which a wait for a marker does not count as one any more."""
WARM = 2.0
"""Seconds that a wait may last which brings its claim along, and a tenth of a lease at most.

Whoever waits so may die or freeze unseen, and is given jobs for a lease all the same, where a marker alone would cost a
tick: let it not be for much longer than one. And when the lease began is not known here, so it counts from before the
wait, and is shorter here by as much.
"""


class Asked(NamedTuple):
    """A claim on its way.

    Attributes:
        call: It.
        nonce: Its nonce.
        limit: How many jobs it may bring.
        since: When its nonce was first sent (boot-time clock): its leases began no sooner.
        doubts: How many there were when it was sent.
        is_repeat: Whether its nonce was sent before, and so may have run before what is known now.
    """

    call: Call[Claimed]
    nonce: int
    limit: int
    since: float
    doubts: int
    is_repeat: bool


class Claimer:
    """Claims jobs for one child.

    Args:
        store: How; with endless patience.
        config: Has the lease time, and the order in which queues and priorities are served.
        child: The child's id.
        free: Returns how many more jobs may be claimed now.
        events: Receives the claimed jobs.
        routes: Knows which functions' jobs are left to other workers; None to leave nothing.
    """

    def __init__(
        self,
        store: AsyncStore,
        config: JobConfig,
        *,
        child: str,
        free: Callable[[], int],
        events: RunEvents,
        routes: Router | None = None,
    ) -> None:
        self._store = store
        self._child = child
        self._lease_us = round(config.lease * 1e6)
        self._warm = min(WARM, config.lease / 10)
        self._free = free
        self._events = events
        self._routes = routes
        self._passing = Lookahead()
        self._kind = ""
        self._loop = asyncio.get_running_loop()
        self._queues = queues_of(config.queue_order, config.queues)
        self._priorities = Priorities() if config.priorities == "weighted" else None
        self._portions = ClaimSize()
        self._hot: set[Lane] = set()
        self._owed: set[Lane] = set()
        self._answered: dict[Lane, int] = {}
        self._unanswered: dict[Lane, float] = {}
        self._ahead: Lane | None = None
        self._is_warm = False
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
        self.is_empty = not self._queues.lanes
        self._tasks = [self._loop.create_task(self._claim_on()), self._loop.create_task(self._listen())]

    def serve(self, lanes: Sequence[Lane]) -> None:
        """Serve these lanes, the first first."""
        new = self._queues.serve(lanes)
        if new and self._tasks:  # whoever blocks now does so on the old lanes
            self._hang_up()
            self._tasks[1] = self._loop.create_task(self._listen())
        for lane in new:
            self.heat(lane)

    def set_kind(self, kind: str) -> None:
        """Wait also for the marker of those who know what children of this kind know."""
        if kind != self._kind:
            self._kind = kind
            if self._tasks:
                self._hang_up()
                self._tasks[1] = self._loop.create_task(self._listen())
                self.changed()

    def relearn(self) -> None:
        """Claim again from the beginning: other jobs are left to others than before."""
        self._passing.forget()
        self.doubt_all()

    def doubt(self, lane: Lane) -> None:
        """Believe no more that nothing is left in a lane: a job was put back since the last claim was sent."""
        self._doubts += 1
        self.heat(lane)

    def doubt_all(self) -> None:
        """Likewise in every lane."""
        for lane in self._queues.lanes:
            self.doubt(lane)

    def heat(self, lane: Lane) -> None:
        """Believe that a claim in a lane may bring something."""
        self._hot.add(lane)
        self.is_empty = False
        self.changed()

    def recall(self) -> None:
        """End a wait that would bring jobs, because there is no room for them any more."""
        if self._ahead is not None:
            self._hang_up()
            self._tasks[1] = self._loop.create_task(self._listen())
            self.changed()

    def _hang_up(self) -> None:
        self._tasks[1].cancel()
        if self._ahead is not None:  # its claim may have run: that is asked before anything else is claimed
            self._owed.add(self._ahead)
            self._hot.add(self._ahead)

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
            self._hang_up()
            claiming, listening = self._tasks
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
        while True:
            free = 0 if self._is_quiet else max(0, min(self._free(), CHUNK))
            lane = self._next(self._hot if free > 0 else self._owed)
            if lane is None:
                if self._is_quiet:
                    return
                self._may_claim.clear()
                self.changed()
                if not self._may_claim.is_set():
                    await self._may_claim.wait()
                continue
            try:
                await self._claim_once(lane, free)
            except Exception:
                log.exception("claim.failed lane=%s", lane.tag)  # a child that claims no more must not look alive
                await asyncio.sleep(1.0)

    def _next(self, among: set[Lane]) -> Lane | None:
        """The lane to claim from: first where a claim was not answered, since what it brought has its slots already."""
        lane = self._queues.first(among & self._unanswered.keys()) if self._unanswered else None
        return self._queues.first(among) if lane is None else lane

    async def _claim_once(self, lane: Lane, limit: int) -> None:
        asked = self._ask(lane, self._portions.of(lane, limit))
        try:
            claimed = await self._store.run(asked.call)
        except StoreUnavailable:
            return
        except JobfleetError as error:
            log.error("claim.failed lane=%s %s", lane.tag, error)
            await asyncio.sleep(1.0)
            return
        self._answered_at = boottime()
        claimed = await self._whole(lane, claimed)
        if self._take(lane, asked, claimed):
            self._owed.discard(lane)

    async def _whole(self, lane: Lane, claimed: Claimed) -> Claimed:
        """What was claimed; read again where bogus ids leave it open which they are."""
        if not claimed.garbled_from:
            return claimed
        call = granted(lane, child=self._child, first=claimed.garbled_from)
        return (await self._store.run(call))._replace(functions=claimed.functions, past=claimed.past)

    def _ask(self, lane: Lane, limit: int) -> Asked:
        """A claim, under the nonce that was not answered yet, if there is one."""
        nonce = self._answered.get(lane, 0) + 1
        is_repeat = lane in self._unanswered
        since = self._unanswered.setdefault(lane, boottime())
        order = self._priorities.order(lane) if self._priorities is not None else ""
        leave = NOTHING
        if self._routes is not None:
            leave = self._routes.lists.get(lane.queue) or self._routes.leave(lane.queue)
        call = claim(
            lane,
            child=self._child,
            nonce=nonce,
            lease_us=self._lease_us,
            limit=limit,
            order=order,
            leave=leave,
            past=self._passing.text(lane) if leave.text else "",
        )
        return Asked(call, nonce, limit, since, self._doubts, is_repeat)

    def _take(self, lane: Lane, asked: Asked, claimed: Claimed) -> bool:
        """Take what a claim was answered; False, and nothing is done, when its nonce has been answered before."""
        if asked.nonce <= self._answered.get(lane, 0):
            return False
        self._answered[lane] = asked.nonce
        del self._unanswered[lane]
        if len(self._queues.lanes) > 1:
            self._queues.took(lane, len(claimed.grants))
        self._portions.took(lane, claimed)
        if claimed.word == "buried":
            self._events.buried()
            self._is_quiet = True
            self._owed.clear()
            return True
        is_short = len(claimed.grants) + len(claimed.unreadable) < asked.limit or asked.limit == 0
        if claimed.past is not None and self._passing.went(lane, claimed.past) and asked.limit:
            is_short = False  # it has looked at as many as it may, and they were all left
        if is_short and asked.doubts == self._doubts and not asked.is_repeat:
            self._hot.discard(lane)
            self._wait_for(lane, claimed)
        else:
            self._hot.add(lane)
        self.is_empty = not self._hot
        if claimed.grants or claimed.unreadable:
            self._is_warm = True
            if self._priorities is not None:
                self._priorities.took(lane, claimed.grants)
            self._events.admitted(lane, claimed, asked.since + self._lease_us / 1e6)
        return True

    def _wait_for(self, lane: Lane, claimed: Claimed) -> None:
        """A due time that is near is awaited here; a far one is a tick's to announce."""
        ahead = claimed.next_due - claimed.now
        timer = self._timers.pop(lane, None)
        if timer is not None:
            timer.cancel()
        wait = max(0, ahead) / 1e6 if claimed.next_due and ahead <= NEAR_US else None
        if claimed.past is not None and (again := self._passing.again_in(lane)) is not None:
            wait = again if wait is None else min(wait, again)
        if wait is not None:
            self._timers[lane] = self._loop.call_later(wait + 0.001, self.heat, lane)

    async def _listen(self) -> None:
        """Block on the lanes' markers while there is room and no lane is hot."""
        with suppress(asyncio.CancelledError):
            while True:
                await self._may_block.wait()
                self._may_block.clear()
                if self._hot or self._free() <= 0 or not self._queues.lanes:
                    continue
                self._waits_since = boottime()
                lanes = self._queues.lanes
                try:
                    if self._is_warm and len(lanes) == 1:
                        lane = await self._wait_with_claim(lanes[0])
                    else:
                        lane = await self._store.wait_wake(lanes, BLOCK, self._kind)
                except StoreUnavailable:  # the wait broke off, and may have taken any lane's marker
                    self._owed.update(lanes)
                    self._hot.update(lanes)
                    self.changed()
                    continue
                except Exception as error:  # lanes on several slots, say: look into all of them, now and then
                    is_bug = not isinstance(error, JobfleetError)
                    log.error("claim.deaf looking once a second %s", error, exc_info=is_bug)
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
                    await asyncio.sleep(0)  # what the wait has brought begins before the next one is sent
                    self.changed()

    async def _wait_with_claim(self, lane: Lane) -> Lane | None:
        """Wait for a lane's marker, the claim going with it; answer the lane if a claim is owed all the same."""
        asked = self._ask(lane, self._portions.of(lane, min(self._free(), CHUNK)))
        self._ahead, self._is_warm = lane, False
        try:
            waited = await self._store.wait_wake_with(asked.call, lane, self._warm, self._kind)
        except Exception:
            self._owed.add(lane)  # it may have run
            raise
        finally:
            self._ahead = None
        was_taken, claimed = waited
        self._is_warm = was_taken
        is_taken = claimed is not None and self._take(lane, asked, await self._whole(lane, claimed))
        return lane if was_taken and not is_taken else None
