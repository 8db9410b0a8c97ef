"""The leases duty: ticks every lane, settles runs whose lease expired, expires jobs, and unblocks dependants.

A process that ends a parent job notifies its dependants at once, but may die before. Therefore lanes with dependants
are ticked more often, and a tick that finds an unprocessed ending starts the notification.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.metrics.tally import Tally
from jobfleet.operations.operation import drive
from jobfleet.outcome import Crashed, Outcome, Preempted, Witnessed
from jobfleet.retry.tries import Tries
from jobfleet.services.duties.lanes import Lanes, catch_up
from jobfleet.services.duties.relay import Relay, Unblocker
from jobfleet.services.duties.run_settler import (
    Published,
    RunSettler,
    Unreadables,
    fail_rest,
    is_in_caller,
    listed,
    worker_of,
)
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import settle
from jobfleet.store.calls.control import read_resuming, stopped
from jobfleet.store.calls.lease import CHUNK, NEAR_US, tick
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Held, Ticked

log = logging.getLogger("jobfleet.reaper")
LOOK_EVERY = 5
LEAST_SHARE = 0.9
"""Minimum share of the spacing before the next full turn."""
OFTENER = 4
"""How many times more often a lane with dependants is ticked."""
NODE_PATIENCE = 1.0
"""Seconds to wait for a node of a cluster, so that the lanes of other nodes are ticked."""
TELLING = 1.0
"""Seconds that pending notifications may take when this duty stops."""


def shared_spacing(workers: int, lease: float) -> float:
    """Return the seconds between the turns of one of several workers that share the duty.

    One second per worker, so that all together tick once per second. The spacing stays short enough that two late turns
    do not leave a gap that suspends the reaping of leases (lib/base/gap.lua). In large fleets, twenty ticks per second
    suffice.

    Args:
        workers: The number of workers that share the duty.
        lease: The duration of a lease in seconds.
    """
    gap = max(2.0, min(5.0, lease / 3))
    return max(1.0, min(workers, gap / 2), workers / 20)


class Leases(Service):
    """Ticks the lanes of the whole fleet.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings.
        tally: Counts the metrics.
        spacing: Returns the seconds between turns; by default the reap interval.
    """

    name = "leases"

    def __init__(
        self,
        store: AsyncStore,
        keys: Keyspace,
        config: JobConfig,
        tally: Tally,
        *,
        spacing: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(tally)
        self._store = store = store.within(NODE_PATIENCE)
        self._keys = keys
        self._config = config
        self._spacing = spacing or (lambda: config.reap_interval)
        self._published = Published()
        self._lanes = Lanes(store, keys)
        self._paused: frozenset[str] = frozenset()
        self._turns = 0
        self._watched: set[Lane] = set()
        self._whole_at = 0.0
        self._is_fresh = False
        self.teller = Unblocker(Relay(store, keys, config, tally))
        self._overdue = RunSettler(
            store, config, functions=lambda: self._published.functions, tally=tally, on_watched=self.teller.tell
        )
        self._unreadables = Unreadables(store, config, tally)

    async def turn(self) -> float:
        """Tick every lane once; between such turns, tick only the lanes with dependants."""
        base = self._spacing()
        self._is_fresh = False
        if monotonic() < self._whole_at and self._watched:
            spacing = await self._tick(list(self._watched), base)
        else:
            if self._turns % LOOK_EVERY == 0 or not self._lanes.places:  # serve the first queue of a fleet at once
                await self._look_if_possible()
            self._turns += 1
            lanes = await self._lanes.due()
            self._watched.intersection_update(lanes)
            spacing = await self._tick(lanes, base)
            self._whole_at = monotonic() + LEAST_SHARE * spacing
        return min(spacing, base / OFTENER) if self._watched else spacing

    async def _tick(self, lanes: Sequence[Lane], spacing: float) -> float:
        """Tick some lanes; return the seconds until the next tick of one of them, at most `spacing`."""
        answers = await self._store.run_each([tick(lane) for lane in lanes], patience=NODE_PATIENCE)
        for lane, answer in zip(lanes, answers, strict=True):
            if isinstance(answer, StoreUnavailable):  # the next turn asks its node again
                continue
            try:
                if isinstance(answer, JobfleetError):
                    raise answer
                self._see_to_waiting(lane, answer)
                spacing = min(spacing, await self._lane(lane, answer))
            except JobfleetError as error:  # a broken lane must not block the others
                log.error("leases.stumbled lane=%s %s", lane.tag, error)
        return spacing

    def _see_to_waiting(self, lane: Lane, ticked: Ticked) -> None:
        """Start to notify dependants of a lane's endings, and remember whether the lane has dependants."""
        if ticked.watched or ticked.unrelayed:
            self._watched.add(lane)
        else:
            self._watched.discard(lane)
        if ticked.unrelayed:
            self.teller.stand_in(lane)

    async def stop(self) -> None:
        """Stop; pending notifications may still finish within a grace time."""
        await super().stop()
        await self.teller.drained(TELLING)

    async def _look_if_possible(self) -> None:
        """Read the fleet; if the node of its keys is away from a cluster, the lanes are ticked that are known."""
        try:
            await self._look()
        except StoreUnavailable:
            if not self._lanes.places:
                raise
            self._is_fresh = False

    async def _look(self) -> None:
        """Read the lanes and the live workers of the fleet, at most once per turn."""
        if self._is_fresh:
            return
        self._is_fresh = True
        seen = await self._lanes.look()
        self._published.functions = seen.functions
        self._paused = stopped(seen.paused)
        self._published.beats = {worker.id: worker.beat for worker in seen.workers}

    async def _lane(self, lane: Lane, ticked: Ticked) -> float:
        if ticked.unreadable:
            await self._unreadables.set_aside(lane, ticked.unreadable)
        for key in ticked.levelled:
            log.error("leases.mended key=%s a member with another score than 0 hid other members; it has 0 now", key)
        if ticked.overdue:
            await self._look()  # the reaping needs the current heartbeats
            await self._reap(lane, ticked)
        if ticked.expired:
            ttl_ms = round(self._config.failed_result_ttl * 1000)
            items = [settle.expire(one, 0, ttl_ms=ttl_ms, guard=settle.STILL_WAITING) for one in ticked.expired]
            await self._store.run(settle.settle(lane, items))
        if ticked.doomed:
            ttl_ms = round(self._config.failed_result_ttl * 1000)
            failed = await fail_rest(self._store, lane, ticked.doomed, ttl_ms=ttl_ms, tally=self.tally)
            if failed.watched:
                self.teller.stand_in(lane)
            if "s" in failed.letters:
                return 0.0
        if not self._paused <= stopped(ticked.functions):
            await catch_up(self._store, self._keys, [lane])
        if resuming := read_resuming(ticked.functions):
            from jobfleet.operations.pause import finish  # for fleets with paused functions

            await drive(self._store, finish(lane, resuming))
            log.info("leases.resumed lane=%s functions=%s all jobs are put back", lane.tag, ",".join(resuming))
        if len(ticked.overdue) == CHUNK or len(ticked.expired) == CHUNK:
            return 0.0
        ahead = ticked.next_due - ticked.now
        return max(0.01, ahead / 1e6) if ticked.next_due and ahead <= NEAR_US else self._config.reap_interval * 3600

    async def _reap(self, lane: Lane, ticked: Ticked) -> None:
        gone_us = round(self._config.gone_after * 1e6)
        beside = Counter(worker_of(held.run.child) for held in ticked.overdue)

        def outcome(held: Held) -> Outcome:
            if self._published.present(held.run.child, ticked.now, gone_us):
                return Preempted()
            reason, suspicion = f"its worker {held.run.child} is gone", Tries.parse(held.tries).suspicion
            if suspicion.is_suspect and suspicion.suspects == 1 and is_in_caller(held.run.child):
                return Crashed(reason, failed_as="expired-lease")  # the job was alone in that process
            return Witnessed(reason, beside[worker_of(held.run.child)])

        reaped = await self._overdue.settle(lane, ticked.overdue, ticked.now, outcome, guard=settle.STILL_EXPIRED)
        self.tally.count("leases_expired_total", (lane.queue,), len(reaped))
        if reaped:
            children = ",".join(sorted({one.run.child for one in reaped}))
            log.warning("leases.expired lane=%s child=%s %s", lane.tag, children, listed(reaped))
