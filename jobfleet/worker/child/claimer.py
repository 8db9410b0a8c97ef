"""Claims jobs for free slots, lane by lane, and blocks until a wake marker arrives when there is no job.

A lane is *hot* if a claim there may bring a job: at the start, after its marker was taken, after a claim that was
filled, and when a near due time is reached. A child that takes a marker owes the lane one claim. If it has no free
slot, it sends a claim for no job, which puts the marker back.

While jobs keep coming to the only served lane, the wait carries a claim. The server runs the claim as soon as the
marker is taken, which saves a round trip. The reply may be lost, or the child may end the wait, and then it is unknown
whether the claim ran. So the nonce of a claim is used until it is answered: when asked again, a claim that has run
answers its grants again, and a late claim does nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.services.long_lived import start
from jobfleet.store.aio import AsyncStore, cancelled
from jobfleet.store.call import Call
from jobfleet.store.calls.lease import CHUNK, NEAR_US, claim, granted
from jobfleet.store.keys import Lane
from jobfleet.store.records import NOTHING, Claimed, Grant
from jobfleet.worker.child.lanes import (
    AWAY_AFTER,
    AwayLanes,
    LaneWaits,
    Priorities,
    give_back,
    in_time,
    parted,
    queues_of,
)
from jobfleet.worker.child.routing import Lookahead, Router
from jobfleet.worker.run.interfaces import RunEvents

log = logging.getLogger("jobfleet.worker")


class Asked(NamedTuple):
    """A claim in flight.

    Attributes:
        call: The call.
        nonce: Its nonce.
        limit: The maximal number of jobs.
        since: When its nonce was first sent (boot-time clock). Its leases did not begin earlier.
        doubts: The number of doubts when it was sent.
        is_repeat: Whether its nonce was sent before, so that the answer may be outdated.
    """

    call: Call[Claimed]
    nonce: int
    limit: int
    since: float
    doubts: int
    is_repeat: bool


FEW = 8
"""The number of jobs in the first claims of a lane."""
MOST_BYTES = 4 * 1024 * 1024
"""The maximal size of the envelopes of one claim in bytes."""


class ClaimSize:
    """Limits the number of jobs per claim, lane by lane, by the size of the last envelopes.

    Redis serves no other client while it returns envelopes, so a claim should return at most 4 MiB. Only Redis knows
    the size of the next envelopes, and asking costs each claim about as much as a job. So a child begins with a few
    jobs per lane and doubles the number as long as the envelopes are small.
    """

    def __init__(self) -> None:
        self._most: dict[Lane, int] = {}

    def of(self, lane: Lane, limit: int) -> int:
        """How many jobs to claim, at most `limit`."""
        return min(limit, self._most.get(lane, FEW))

    def took(self, lane: Lane, claimed: Claimed) -> None:
        """Adjust the limit to what a claim has returned."""
        count, most = len(claimed.grants), self._most.get(lane, FEW)
        if not count or (most == CHUNK and count <= FEW):
            return
        size = sum([len(grant.envelope) for grant in claimed.grants])
        self._most[lane] = max(1, min(CHUNK, 2 * most, count * MOST_BYTES // max(1, size)))


class DueTimers:
    """At most one timer per lane.

    Args:
        loop: The event loop.
        due: Receives a lane when its time has come.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Callable[[Lane], None]) -> None:
        self._loop = loop
        self._due = due
        self._timers: dict[Lane, asyncio.TimerHandle] = {}

    def set(self, lane: Lane, seconds: float | None) -> None:
        """Replace the timer of a lane; None for no timer."""
        timer = self._timers.pop(lane, None)
        if timer is not None:
            timer.cancel()
        if seconds is not None:
            self._timers[lane] = self._loop.call_later(seconds + 0.001, self._due, lane)

    def cancel(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()


BLOCK = 3.0
"""Seconds that a wait for a marker lasts. After it and the link's `LATE`, a child notices a half-open connection."""
LOOK_EVERY = 0.25
"""Seconds between checks of the other lanes while one lane stays hot. The child hears no markers meanwhile."""
LOOKS = 50
"""Limit of the claims per second that these checks cost, for any number of lanes."""
PATIENCE = 2.0
"""Seconds that claims in flight may take when the child stops claiming."""
LATE = 10.0
"""Seconds beyond its time-out after which a wait for a marker counts as stuck."""
WARM = 2.0
"""Seconds that a wait with a claim may last; at most a tenth of the lease.

If this client dies or freezes while it is blocked, Redis still leases it jobs until the lease ends, so the wait is kept
short. The child does not know when the lease began. It counts the lease from before the wait, so the wait shortens it.
"""


class Claimer:
    """Claims jobs for one child.

    Args:
        store: The connection, with endless patience.
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
        self._events = events
        self._routes = routes
        self._lookahead = Lookahead()
        self._kind = ""
        self._loop = asyncio.get_running_loop()
        self._queues = queues_of(config.queue_order, config.queues)
        self._priorities = Priorities() if config.priorities == "weighted" else None
        self._claim_size = ClaimSize()
        self._hot: set[Lane] = set()
        self._look_at = 0.0
        self._owed: set[Lane] = set()
        self._answered: dict[Lane, int] = {}
        self._unanswered: dict[Lane, float] = {}
        self._awaited: Sequence[Lane] = ()
        self._ahead: Lane | None = None
        self._is_warm = False
        self._timers = DueTimers(self._loop, self.heat)
        self._waits = LaneWaits(store, BLOCK, self._owe) if store.at.cluster is not None else None
        self._away = AwayLanes(lambda lane: self._claim_once(lane, 0), self._owe)
        self._free = free
        self._may_claim = asyncio.Event()
        self._may_block = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_quiet = False
        self._doubts = 0
        self._answered_at = boottime()
        self._waits_since: float | None = None
        self.is_empty = False
        """Whether the last claim in every lane returned less than it could: a worker in a burst may leave."""

    @property
    def pulse(self) -> float:
        """When a claim or a wait was last answered (boot-time clock); now, while it waits or may not claim."""
        now = boottime()
        is_waiting = self._waits_since is not None and now - self._waits_since < BLOCK + LATE
        return now if self._is_quiet or is_waiting else self._answered_at

    def start(self) -> None:
        """Start to claim."""
        self.is_empty = not self._queues.lanes
        self._tasks = [start(self._claim_on, log, "claims"), start(self._listen, log, "waits")]

    def serve(self, lanes: Sequence[Lane]) -> None:
        """Serve these lanes, in this order."""
        new = self._queues.serve(lanes)
        if new and self._tasks:  # the current wait blocks on the old lanes
            self._wait_again()
        for lane in new:
            self.heat(lane)

    def set_kind(self, kind: str) -> None:
        """Wait also for the marker of this kind of children."""
        if kind != self._kind:
            self._kind = kind
            if self._tasks:
                self._wait_again()
                self.changed()

    def relearn(self, *, is_whole: bool = True) -> None:
        """Claim again from the beginning: others' functions, or with `is_whole` False only shares, have changed."""
        self._lookahead.forget() if is_whole else self._lookahead.look_ahead_of(self._queues.lanes)
        self.doubt_all()

    def doubt(self, lane: Lane) -> None:
        """Treat a lane as hot: a job was put back there after the last claim was sent."""
        self._doubts += 1
        self.heat(lane)

    def doubt_all(self) -> None:
        """Treat every lane as hot."""
        for lane in self._queues.lanes:
            self.doubt(lane)

    def heat(self, lane: Lane) -> None:
        """Mark a lane as hot."""
        if not self._hot:
            self._look_later()
        self._hot.add(lane)
        self.is_empty = False
        self.changed()

    def _look_later(self) -> None:
        self._look_at = boottime() + max(LOOK_EVERY, len(self._queues.lanes) / LOOKS)

    def _look_around(self) -> None:
        """Mark all lanes as hot at intervals while one stays hot. Otherwise its backlog hides jobs of other queues."""
        if 0 < len(self._hot) < len(self._queues.lanes) and boottime() >= self._look_at:
            self._hot.update(self._queues.lanes)
            self._look_later()

    def recall(self) -> None:
        """End a wait with a claim, because there is no room for its jobs any more."""
        if self._ahead is not None:
            self._wait_again()
            self.changed()

    def _wait_again(self) -> None:
        self._end_wait()
        self._tasks[1] = start(self._listen, log, "waits")

    def _end_wait(self) -> None:
        self._tasks[1].cancel()
        ended = [*self._awaited, *(self._waits.cancel() if self._waits is not None else ())]
        self._owed.update(ended)  # the wait may have taken a marker, or its claim may have run
        self._hot.update(ended)

    def _owe(self, lane: Lane) -> None:
        """Claim once from a lane, even if there is no free slot: its marker was taken, or may have been."""
        self._owed.add(lane)
        self.heat(lane)

    def changed(self) -> None:
        """Check again whether to claim: a slot was freed, or a lane became hot."""
        if self._is_quiet or self._may_claim.is_set():
            return
        if self._hot and (self._owed or self._free() > 0):
            self._may_claim.set()
        elif not self._hot and self._free() > 0:
            self._may_block.set()

    async def quiet(self) -> None:
        """Stop claiming. A claim in flight is admitted first, and a wait is ended."""
        self._is_quiet = True
        self._may_claim.set()
        self._timers.cancel()
        if self._tasks:
            self._end_wait()
            claiming, listening = self._tasks
            await asyncio.wait((claiming, listening), timeout=PATIENCE)
            self._away.cancel()
            await cancelled(claiming)  # Redis is away: jobs of this claim are found when the child is buried
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
            if free > 0:
                self._look_around()
            lane = self._next(self._hot if free > 0 else self._owed)
            if lane is None:
                if self._is_quiet:
                    return
                (self._hot if free > 0 else self._owed).clear()  # only lanes that are not served any more are left
                self._may_claim.clear()
                self.changed()
                if not self._may_claim.is_set():
                    await self._may_claim.wait()
                continue
            try:
                if self._waits is None or len(self._queues.lanes) == 1:
                    await self._claim_once(lane, free)
                elif not await in_time(self._claim_once(lane, free, patience=AWAY_AFTER)) and lane in self._unanswered:
                    self._away.add(lane)
            except Exception:
                log.exception("claim.failed lane=%s", lane.tag)  # a child that cannot claim must not look alive
                await asyncio.sleep(1.0)
            if self._hot and 0 < self._free() < CHUNK:
                await asyncio.sleep(0)  # jobs that end at once make room for a larger claim

    def _next(self, among: set[Lane]) -> Lane | None:
        """The lane to claim from: first a lane with an unanswered claim, because its jobs have their slots already."""
        if away := self._away.lanes:
            among = among - away
        lane = self._queues.first(among & self._unanswered.keys()) if self._unanswered else None
        return self._queues.first(among) if lane is None else lane

    async def _claim_once(self, lane: Lane, limit: int, *, patience: float = -1.0) -> bool:
        """Claim from a lane. Returns whether the claim was answered."""
        asked = self._ask(lane, self._claim_size.of(lane, limit))
        try:
            claimed = await self._store.run(asked.call, patience=patience)
        except StoreUnavailable:
            return False
        except JobfleetError as error:
            log.error("claim.failed lane=%s %s", lane.tag, error)
            await asyncio.sleep(1.0)
            return False
        self._answered_at = boottime()
        claimed = await self._whole(lane, claimed)
        surplus: Sequence[Grant] = ()
        if lane in self._away.lanes:
            claimed, surplus = parted(claimed, self._free())
        if self._take(lane, asked, claimed):
            self._owed.discard(lane)
            if surplus:
                await give_back(self._store, lane, surplus)
        return True

    async def _whole(self, lane: Lane, claimed: Claimed) -> Claimed:
        """What was claimed. It is read again if invalid ids make the reply ambiguous."""
        if not claimed.garbled_from:
            return claimed
        call = granted(lane, child=self._child, first=claimed.garbled_from)
        return (await self._store.run(call))._replace(functions=claimed.functions, past=claimed.past)

    def _ask(self, lane: Lane, limit: int) -> Asked:
        """A new claim, or the repetition of an unanswered one under the same nonce."""
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
            past=self._lookahead.text(lane) if leave.text else "",
        )
        return Asked(call, nonce, limit, since, self._doubts, is_repeat)

    def _take(self, lane: Lane, asked: Asked, claimed: Claimed) -> bool:
        """Take the answer of a claim. Returns False, and does nothing, if its nonce was answered before."""
        if asked.nonce <= self._answered.get(lane, 0):
            return False
        self._answered[lane] = asked.nonce
        del self._unanswered[lane]
        if len(self._queues.lanes) > 1:
            self._queues.took(lane, len(claimed.grants))
        self._claim_size.took(lane, claimed)
        if claimed.word == "stale":  # no other process claims under this name: a foreign client has written the number
            log.error("claim.stale lane=%s: counting on from %d, not %d", lane.tag, claimed.seen, asked.nonce)
            self._answered[lane] = max(asked.nonce, claimed.seen)
            self._hot.add(lane)
            return True
        if claimed.word == "buried":
            self._events.buried()
            self._is_quiet = True
            self._owed.clear()
            return True
        is_short = len(claimed.grants) + len(claimed.unreadable) < asked.limit or asked.limit == 0
        if claimed.past is not None and self._lookahead.went(lane, claimed.past) and asked.limit:
            is_short = False  # it has checked as many jobs as it may, and left them all to others
        if is_short and asked.doubts == self._doubts and not asked.is_repeat:
            self._hot.discard(lane)
            self._wait_for(lane, claimed)
        else:
            self._hot.add(lane)
        self.is_empty = not self._hot and not self._away.lanes
        if claimed.grants or claimed.unreadable:
            self._is_warm = True
            if self._priorities is not None:
                self._priorities.took(lane, claimed.grants)
            self._events.admitted(lane, claimed, asked.since + self._lease_us / 1e6)
        return True

    def _wait_for(self, lane: Lane, claimed: Claimed) -> None:
        """Set a timer for a near due time. A tick announces the others."""
        ahead = claimed.next_due - claimed.now
        wait = max(0, ahead) / 1e6 if claimed.next_due and ahead <= NEAR_US else None
        if claimed.past is not None and (again := self._lookahead.again_in(lane)) is not None:
            wait = again if wait is None else min(wait, again)
        self._timers.set(lane, wait)

    async def _listen(self) -> None:
        """Block on the markers of the lanes while there is room and no lane is hot."""
        self._may_block.set()  # the first round looks whether to wait, also after an error
        while True:
            await self._may_block.wait()
            self._may_block.clear()
            if self._hot or self._free() <= 0 or not self._queues.lanes:
                continue
            self._waits_since = boottime()
            lane, lanes = None, self._queues.lanes
            waits = self._waits if len(lanes) > 1 else None
            self._awaited = lanes if waits is None else ()
            try:
                if self._is_warm and len(lanes) == 1:
                    lane = await self._wait_with_claim(lanes[0])
                elif waits is not None:
                    await waits.any(lanes, self._kind, without=self._away.lanes)
                else:
                    lane = await self._store.wait_wake(lanes, BLOCK, self._kind)
            except StoreUnavailable:  # the wait was cut off, and may have taken the marker of any lane
                self._owed.update(lanes)
                self._hot.update(lanes)
                self.changed()
                continue
            except Exception as error:  # for example a value of another type: poll all lanes
                is_bug = not isinstance(error, JobfleetError)
                log.error("claim.deaf polling every second %s", error, exc_info=is_bug)
                await asyncio.sleep(1.0)
                self._hot = set(self._queues.lanes)
                self.changed()
                continue
            finally:
                self._answered_at, self._waits_since, self._awaited = boottime(), None, ()
            if lane is not None:
                self._owe(lane)
            else:
                await asyncio.sleep(0)  # the claimed jobs start before the next wait is sent
                self.changed()

    async def _wait_with_claim(self, lane: Lane) -> Lane | None:
        """Wait for the marker of a lane, with a claim. Returns the lane if it is still owed a claim."""
        asked = self._ask(lane, self._claim_size.of(lane, min(self._free(), CHUNK)))
        self._ahead, self._is_warm = lane, False
        try:
            waited = await self._store.wait_wake_with(asked.call, lane, self._warm, self._kind)
        except Exception:
            self._owed.add(lane)  # the claim may have run
            raise
        finally:
            self._ahead = None
        was_taken, claimed = waited
        self._is_warm = was_taken
        is_taken = claimed is not None and self._take(lane, asked, await self._whole(lane, claimed))
        return lane if was_taken and not is_taken else None
