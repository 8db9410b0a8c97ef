"""The lanes of a child: which it serves, in which order, and how it waits for their jobs."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, KeysView, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.functions.limiting import check_declared
from jobfleet.functions.registry import JobFunction
from jobfleet.model import check_queue
from jobfleet.operations.limits import declare
from jobfleet.operations.operation import drive
from jobfleet.services.duties.lanes import catch_up
from jobfleet.services.long_lived import start
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.calls.settle import release, settle
from jobfleet.store.journal import follow
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Claimed, Grant
from jobfleet.worker.ipc.protocol import DEFAULT

# Which queues a worker serves: those that are configured, else those of its functions; and their declared limits.


log = logging.getLogger("jobfleet.worker")
NODE_PATIENCE = 2.0
"""Seconds to wait for a node of a cluster; its lanes are then left for later."""
FIRST_WAIT = 0.5
LONGEST_WAIT = 5.0
"""Seconds between two attempts to prepare such lanes; doubled after each."""


class ServedQueues:
    """The queues of one worker process; functions may be registered while it runs.

    Args:
        functions: The registered functions, by name.
        chosen: The configured queues; empty to serve the queues of the functions.
        plain: Returns how many functions it runs that are not registered. They belong to ``default``.
        declares: Whether it stores the limits that the functions declare.

    Attributes:
        queues: The queues that it serves, in the order in which it serves them.
        away: The lanes that it does not serve yet, because their node of a cluster does not reply.

    Raises:
        ConfigError: The limits that the functions declare contradict each other.
        InvalidJob: The name of a chosen queue is not valid.
    """

    def __init__(
        self,
        functions: Mapping[str, JobFunction[..., Any, Any]],
        *,
        chosen: Iterable[str] = (),
        plain: Callable[[], int] = lambda: 0,
        declares: bool = True,
    ) -> None:
        self._functions = functions
        self._chosen = [check_queue(name) for name in chosen]
        self._plain = plain
        self._declares = declares
        if declares:
            check_declared(functions.values())
        self._seen: tuple[int, int] | None = None
        self.away: frozenset[Lane] = frozenset()
        self._wait, self._again_at = FIRST_WAIT, 0.0
        self.queues: list[str] = []
        self.look()

    def look(self) -> bool:
        """Update the queues. Returns whether to prepare lanes: of new functions, or of nodes that may be back."""
        seen = (len(self._functions), self._plain())
        if seen == self._seen:
            return bool(self.away) and monotonic() >= self._again_at
        self._seen = seen
        own = [str(function.given.get("queue") or DEFAULT) for function in list(self._functions.values())]
        self.queues = list(dict.fromkeys(self._chosen or [*own, *([DEFAULT] if seen[1] else [])]))
        return True

    async def lanes(self, store: AsyncStore, keys: Keyspace, config: JobConfig) -> list[Lane]:
        """Open the queues, and store their declared limits. Returns their lanes, in the order of the queues.

        Lanes whose node of a cluster does not reply are left out: no claim may come before their limits are stored.

        Args:
            store: The connection to Redis.
            keys: The fleet's keys.
            config: Has the number of lanes of a new queue, and the maximal number of queues.

        Raises:
            ConfigError: There are too many queues, or a declared limit cannot apply to its queue.
        """
        while True:
            lanes = await self._prepared(store, keys, config)
            if lanes is not None:
                return lanes
            await asyncio.sleep(FIRST_WAIT)

    async def _prepared(self, store: AsyncStore, keys: Keyspace, config: JobConfig) -> list[Lane] | None:
        """Prepare the lanes that can be served; return None if there is none, or a node of the cluster went away."""
        every: dict[str, list[Lane]] = {}
        for queue in self.queues:
            opened = await store.run(open_queue(keys, queue, config.lanes.get(queue, 1), most=config.max_queues))
            every[queue] = [keys.lane(queue, index) for index in range(opened.lanes)]
        lanes = [lane for of_queue in every.values() for lane in of_queue]
        there = await store.reachable(lanes, within=NODE_PATIENCE)
        if lanes and not there:
            return None
        limited = store.within(NODE_PATIENCE)
        try:
            if self._declares:
                for queue, of_queue in every.items():
                    await self._declare(limited, queue, of_queue, there)
            await catch_up(limited, keys, there)
            await follow(limited, keys, there)
        except StoreUnavailable:
            if limited is store or store.patience is not None:
                raise
            return None
        self._note_away(frozenset(lanes).difference(there))
        return there

    def _note_away(self, away: frozenset[Lane]) -> None:
        """Remember which lanes are to be prepared later, and when."""
        if away - self.away:
            names = ",".join(sorted(f"{lane.queue}.{lane.index}" for lane in away))
            log.warning("lanes.away lanes=%s their nodes do not reply; these lanes are served when they do", names)
        self._wait = min(2 * self._wait, LONGEST_WAIT) if away else FIRST_WAIT
        self._again_at = monotonic() + self._wait
        self.away = away

    async def _declare(self, store: AsyncStore, queue: str, every: list[Lane], there: Collection[Lane]) -> None:
        """Store the declared limits of a queue, before its first claim."""
        functions = list(self._functions.values())
        limits = {one.name: one.limit for one in functions if one.limit is not None and one.limit.queue == queue}
        replaced = await drive(store, declare(every, limits, [one.name for one in functions], only=there))
        for name, others in replaced.items():
            log.warning(
                "limit.replaced queue=%s function=%s declares %s for %s; %s declared another limit there",
                queue,
                name,
                limits[name],
                limits[name].place,
                ", ".join(others),
            )


# The order in which a child serves its queues, and the priorities of one lane.
#
# Weighted shares use one virtual clock per participant. A job advances the clock of its participant by 1 ÷ weight,
# and the participant with the lowest clock comes first. A participant that was idle starts at the current time of the
# others. So it gets no jobs in advance, and no participant starves.


K = TypeVar("K")
WEIGHTS = {0: 8, 1: 4, 2: 2, 3: 1}
"""The weights of CRITICAL, HIGH, NORMAL and LOW."""


class Shares(Generic[K]):
    """Orders participants so that each gets a share by its weight.

    Args:
        weights: The participants with their weights. Among equals the first one comes first.
    """

    def __init__(self, weights: Mapping[K, int]) -> None:
        self._weights = weights
        self._clocks = dict.fromkeys(weights, 0.0)
        self._now = 0.0

    def order(self) -> list[K]:
        """All participants, the one with the lowest clock first."""
        return sorted(self._clocks, key=self._clocks.__getitem__)

    def took(self, participant: K, jobs: int) -> None:
        """Count the jobs that a participant got at once."""
        self._now = max(self._now, self._clocks[participant])
        self._clocks[participant] = self._now + jobs / self._weights[participant]


class Queues:
    """The lanes that a child serves, in order: the queues as given, and the lanes of each queue alternately."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []

    def serve(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Serve these lanes from now on. Returns the new ones. If there are none, the order does not change."""
        new = [lane for lane in lanes if lane not in self.lanes]
        if new or len(lanes) < len(self.lanes):
            self.lanes = list(lanes)
        return new

    def first(self, among: Collection[Lane]) -> Lane | None:
        """The first of the given lanes in the serving order."""
        return next((lane for lane in self.lanes if lane in among), None)

    def took(self, lane: Lane, jobs: int) -> None:
        """Count a claim. The lane moves behind the other lanes of its queue, so that all of them are served."""
        del jobs
        places = [place for place, other in enumerate(self.lanes) if other.queue == lane.queue]
        if len(places) > 1 and lane in self.lanes:
            self.lanes.remove(lane)
            self.lanes.insert(places[-1], lane)


class RoundRobinQueues(Queues):
    """Serves the queues alternately, one claim per queue."""

    def took(self, lane: Lane, jobs: int) -> None:
        """Count a claim. Its queue becomes the last one."""
        super().took(lane, jobs)
        self.lanes.sort(key=lambda other: other.queue == lane.queue)


class WeightedQueues(Queues):
    """Gives each queue a share of the jobs.

    Args:
        weights: The weights of queues; 1 for a queue that is not named.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        super().__init__()
        self._weights = weights
        self._shares: Shares[str] = Shares({})

    def serve(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Serve these lanes from now on. Returns the new ones."""
        new = super().serve(lanes)
        if new:
            self._shares = Shares({lane.queue: self._weights.get(lane.queue, 1) for lane in lanes})
        return new

    def first(self, among: Collection[Lane]) -> Lane | None:
        """The first of the given lanes in the serving order."""
        for queue in self._shares.order():
            for lane in self.lanes:
                if lane.queue == queue and lane in among:
                    return lane
        return None

    def took(self, lane: Lane, jobs: int) -> None:
        """Count the jobs of a claim."""
        super().took(lane, jobs)
        if jobs:
            self._shares.took(lane.queue, jobs)


class Priorities:
    """Gives the priorities of each lane a share of the jobs."""

    def __init__(self) -> None:
        self._shares: dict[Lane, Shares[int]] = {}

    def order(self, lane: Lane) -> str:
        """The order in which a claim visits the priorities, one digit each."""
        shares = self._shares.get(lane)
        if shares is None:
            shares = self._shares[lane] = Shares(WEIGHTS)
        return "".join(map(str, shares.order()))

    def took(self, lane: Lane, grants: Iterable[Grant]) -> None:
        """Count the jobs of a claim."""
        for band, jobs in Counter(grant.band for grant in grants).items():
            self._shares[lane].took(band, jobs)


def queues_of(order: str, weights: Mapping[str, int]) -> Queues:
    """The implementation of an order: ordered, weighted or round-robin."""
    if order == "weighted":
        return WeightedQueues(weights)
    return RoundRobinQueues() if order == "round-robin" else Queues()


MOST = 16
"""The maximal number of waits, and so of connections, at a time."""
TURN = 0.25
"""Seconds of a wait if there are more lanes: all are waited for in rotation, `MOST` at a time."""


class LaneWaits:
    """Waits for the markers of lanes in several slots of a cluster, where one command cannot wait for all of them.

    Each lane has a wait of its own, on a connection of its own. When one ends, the others continue, also while the
    child is busy: to end them would cost each lane a claim, because an ended wait may have taken a marker. A marker
    that comes meanwhile is reported at once, so that the child claims, or puts the marker back if it has no free slot.

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


AWAY_AFTER = 0.5
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
    """Lanes whose cluster node does not reply: their claims are repeated beside the claims of other lanes.

    A claim without a reply may have run. It is repeated under the same nonce until it is answered. No slots are
    reserved for it, because one node would keep the child from the jobs of all others. If the claim had brought more
    jobs than there are free slots when its answer comes, the child gives the surplus back.

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
