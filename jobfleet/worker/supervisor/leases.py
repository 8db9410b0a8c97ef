"""The leases of a worker's runs: their renewal in rounds, and the connection whose outages they outlive or not."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobfleet.clock import boottime, monotonic
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.metrics.outage import Outage
from jobfleet.metrics.tally import Tally
from jobfleet.operations.operation import by_lane
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.lease import CHUNK, renew
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Cancelling
from jobfleet.store.trip import FIRST_WAIT, LONGEST_WAIT
from jobfleet.worker.ipc.lease_board import Posted
from jobfleet.worker.supervisor.child_handle import ChildHandle

if TYPE_CHECKING:
    from jobfleet.store.target import Address

log = logging.getLogger("jobfleet.worker")

Lease = tuple[str, int]
LEASE_REPORTS = ("lost", "stale")
"""What a child reports about its leases."""
ROUNDS = 2
"""Rounds of renewals after which the end of an outage is logged, though a child has not examined its leases."""


class Connection:
    """Reports outages of Redis for a worker and all its processes.

    After an outage all leases are renewed at once. The log line about the end of the outage has the numbers of
    renewed and lost leases. A lease that cannot be renewed is not always lost: Redis may have executed the ending of
    its run, and the child has not received the reply yet. Therefore the children report what they have lost, and the
    line waits for them.

    Args:
        url: The masked URL of Redis.
        log: The worker's logger.
        tally: Counts the outages.
        held: Returns the runs that the worker holds, as id and token.
        is_examined: Returns whether each child has reported which of the leases without a renewal are lost.

    Attributes:
        outage: The recorder of the store that renews leases.
    """

    def __init__(
        self,
        url: str,
        log: logging.Logger,
        tally: Tally,
        *,
        held: Callable[[], Iterable[Lease]],
        is_examined: Callable[[], bool],
    ) -> None:
        self._held = held
        self._is_examined = is_examined
        self._hurry = asyncio.Event()
        self.outage = Outage(
            url, log, tally, meanwhile=self._meanwhile, on_loss=self._note_held, on_return=self._hurry.set
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._held_before: set[Lease] = set()
        self._renewed: set[Lease] = set()
        self._lost: set[Lease] = set()
        self._is_whole = False
        self._rounds = 0

    def _meanwhile(self) -> str:
        count = len(list(self._held()))
        return f"{count} running jobs continue; none is claimed, renewed or settled until Redis replies"

    def _note_held(self) -> None:
        self._held_before = set(self._held())

    def renew_now(self) -> None:
        """Start the next round at once; may be called from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: there are no more rounds
                self._loop.call_soon_threadsafe(self._hurry.set)

    def begin_round(self) -> None:
        """Start a round that renews all leases."""
        self._loop = asyncio.get_running_loop()
        self._is_whole = self.outage.is_returning

    def renewed(self, news: News) -> None:
        """Record the result of one renewal."""
        self._is_whole = self._is_whole and news.is_whole
        if self.outage.is_returning:
            self._renewed.update(news.standing)

    def not_renewed(self) -> None:
        """Record that a renewal failed."""
        self._is_whole = False

    def hear(self, word: str, lease: Sequence[Any]) -> None:
        """Hear a report of a child: a lease is lost (``lost``), or its leases must be renewed at once (``stale``)."""
        if word == "lost":
            self.lost((lease[0], lease[1]))
        else:
            self.renew_now()

    def lost(self, lease: Lease) -> None:
        """Record that a child has lost a lease."""
        if lease in self._held_before:
            self._lost.add(lease)

    def end_round(self) -> None:
        """End a round; after an outage, log its effect on the leases."""
        if self._is_whole and self.outage.is_returning:
            self._rounds += 1
            self.examined()

    def examined(self) -> None:
        """Log the effect of an outage on the leases, if all leases were renewed and the children have examined them."""
        if not self.outage.is_returning or not self._rounds or not (self._is_examined() or self._rounds >= ROUNDS):
            return
        lost = self._held_before & self._lost
        renewed = self._held_before & self._renewed - lost
        rest = self._held_before - renewed - lost
        unknown = rest.intersection(self._held())  # a child is frozen or hung, or has just lost Redis
        counts = {"renewed": len(renewed), "settled": len(rest - unknown), "lost": len(lost)}
        self.outage.settle(**counts, **({"unknown": len(unknown)} if unknown else {}))
        self._rounds = 0
        for leases in (self._held_before, self._renewed, self._lost):
            leases.clear()

    async def pause(self, seconds: float) -> None:
        """Wait until the next round is due; that is immediately when Redis is back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # `wait_for` takes more turns of the loop on Python 3.11 than later
                await self._hurry.wait()
        self._hurry.clear()


Part = tuple[Lane, list[tuple[str, int]]]
PATIENCE_SHARE = 1 / 6
"""The share of a lease for which a round waits for a node of a cluster; the next round is a third of a lease later."""
LONGER = 2
"""How many times the configured lease a lease lasts on a slow Redis.

So the job of a dead worker is found at most one configured lease later. A tick cuts what is longer (docs/adr/0078).
"""
MOST = 8
"""How many times its timeout a reply to a renewal may take before its connection counts as broken.

That is at most 4/3 of a lease. After that, even a longer lease would end before the next renewal.
"""
QUICK = 20
"""Replies in a row that must be quick before timeout or lease shrink again."""


@dataclass(slots=True)
class News:
    """The result of a renewal.

    Attributes:
        standing: The renewed leases, as id and token.
        until: The end of the renewed leases by the boot-time clock, computed before the call was sent.
        lost: The leases that could not be renewed.
        cancelled: Jobs with a request to cancel.
        is_whole: Whether all nodes of a cluster have replied.
    """

    standing: list[tuple[str, int]] = field(default_factory=list)
    until: float = 0.0
    lost: list[tuple[str, int]] = field(default_factory=list)
    cancelled: list[Cancelling] = field(default_factory=list)
    is_whole: bool = True

    def about(self, keys: Collection[tuple[str, int]]) -> News:
        """Return what concerns some runs."""
        return News(
            until=self.until,
            standing=[one for one in self.standing if one in keys],
            lost=[one for one in self.lost if one in keys],
            cancelled=[one for one in self.cancelled if (one.id, one.token) in keys],
            is_whole=self.is_whole,
        )


class Pace:
    """Adapts the timeout of renewals and the duration of leases to the time that Redis takes for a reply.

    Silence lengthens the timeout only. Only a reply that arrives shows whether Redis is slow or was away.

    Args:
        lease: The configured duration of a lease in seconds.
        timeout: Seconds after which a renewal is repeated on a Redis that is not slow.
        node: The node of a cluster that this is about, for the log.

    Attributes:
        is_slow: Whether Redis replies slowly, so that leases last longer.
    """

    def __init__(self, lease: float, timeout: float, node: str = "") -> None:
        self._of = f"on {node} " if node else ""
        self._lease = lease
        self._timeout = timeout
        self._factor = 1
        self._quick = 0
        self.is_slow = False

    @property
    def lease(self) -> float:
        """The duration of a lease in seconds."""
        return self._lease * LONGER if self.is_slow else self._lease

    @property
    def timeout(self) -> float:
        """Seconds without a reply after which a renewal is repeated."""
        return self._timeout * self._factor

    def missed(self) -> None:
        """Record that no reply came within the timeout."""
        self._factor = min(MOST, 2 * self._factor)
        self._quick = 0

    def answered(self, seconds: float) -> None:
        """Record how long a reply took."""
        if seconds > self.timeout / 2:
            self.missed()
        if not self.is_slow:
            if seconds > self._timeout / 2:
                self.is_slow = True
                text = "leases.longer Redis answers slowly (%.1f s): leases of this worker %slast %g s instead of %g s"
                log.warning(text, seconds, self._of, self.lease, self._lease)
            else:  # it was away, or one packet was lost
                self._factor = 1
        elif seconds < self.timeout / 4:
            self._shrink()
        else:
            self._quick = 0

    def _shrink(self) -> None:
        self._quick += 1
        if self._quick < QUICK:
            return
        self._quick = 0
        self._factor = max(1, self._factor // 2)
        if self._factor == 1:
            self.is_slow = False
            text = "leases.normal Redis answers quickly again: leases of this worker %slast %g s"
            log.info(text, self._of, self._lease)


class LeaseRenewer:
    """Renews the leases of the jobs on boards, those of a lane in one script, and reports lost leases.

    Each node of a cluster has a pace of its own. What a node answers after the others is reported by a later `renew`.

    Args:
        store: The connection to Redis. Its timeout is `MOST` times that of a renewal.
        keys: The fleet's keys.
        lease: The configured duration of a lease in seconds.
        timeout: Seconds without a reply after which a renewal is repeated, as long as Redis is not slow.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, *, lease: float, timeout: float) -> None:
        self._store = store
        self._keys = keys
        self._lease = lease
        self._timeout = timeout
        self._paces: dict[Address | None, Pace] = {}
        self._late: dict[asyncio.Task[News], Address | None] = {}

    @property
    def longest(self) -> float:
        """The longest duration of a lease at the moment, in seconds."""
        return max((pace.lease for pace in self._paces.values()), default=self._lease)

    async def renew(self, posted: Iterable[Posted]) -> list[News]:
        """Renew the leases of posted jobs; return the news of each node.

        An old primary that stays up after a failover does not know the leases that its successor granted. Therefore a
        loss is accepted only after the address was found to lead to the same server as before.
        """
        held = list(posted)
        news = await self._renew(held)
        if any(one.lost for one in news) and await self._store.look_again():
            news = await self._renew(held)
        return news

    async def _renew(self, posted: Iterable[Posted]) -> list[News]:
        held: list[tuple[Lane, tuple[str, int]]] = []
        rest = News(until=boottime() + self._lease)
        for one in posted:
            try:
                held.append((self._keys.lane_of(one.id), one.key))
            except JobNotFound:  # not a valid id; it must not prevent the renewal of the others
                rest.lost.append(one.key)
        by_node: dict[Address | None, list[Part]] = {}
        for part in by_lane(held, CHUNK):
            by_node.setdefault(self._store.node_of(part[0]), []).append(part)
        news = [rest] if rest.lost else []
        if self._store.at.cluster is None:
            return [*news, *[await self._ask(node, parts) for node, parts in by_node.items()]]
        return [*news, *await self._ask_each(by_node)]

    async def _ask_each(self, by_node: Mapping[Address | None, Sequence[Part]]) -> list[News]:
        """Ask the nodes of a cluster. The leases on others must not wait for one that is away or slow.

        A slow one is waited for until the next call. Its connection stays open: to make one would take longer.
        """
        late, self._late = self._late, {}
        asked = {asyncio.ensure_future(self._ask(node, parts)): node for node, parts in by_node.items()}
        if asked:
            await asyncio.wait(asked, timeout=PATIENCE_SHARE * self._lease)
        self._late |= {task: node for task, node in (late | asked).items() if not task.done()}
        news = [task.result() for task in (*late, *asked) if task not in self._late]
        if self._late:
            news.append(News(until=boottime(), is_whole=False))
        if any(not self._paces[node].is_slow for node in self._late.values()):  # perhaps another node has taken over
            self._store.doubt_nodes()
        return news

    async def _ask(self, node: Address | None, parts: Sequence[Part]) -> News:
        """Renew leases on one node."""
        pace = self._paces.get(node)
        if pace is None:
            pace = self._paces[node] = Pace(self._lease, self._timeout, f"{node[0]}:{node[1]}" if node else "")
        news = News(until=boottime() + pace.lease)
        answers = await self._answers(
            pace, [renew(lane, part, lease_us=round(pace.lease * 1e6)) for lane, part in parts]
        )
        for (lane, part), answer in zip(parts, answers, strict=True):
            if isinstance(answer, StoreUnavailable):  # a node of a cluster is away; the leases of the others go on
                news.is_whole = False
                continue
            if isinstance(answer, JobfleetError):  # this lane is damaged
                log.error("leases.not_renewed lane=%s %s", lane, answer)
                news.is_whole = False
                continue
            lost = set(answer.lost)
            news.standing += [one for one in part if one not in lost]
            news.lost += answer.lost
            news.cancelled += answer.cancelled
        return news

    async def _answers(self, pace: Pace, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls until they have replies.

        A renewal without a reply is repeated on another connection, because the first one may be half open. The first
        one is waited for meanwhile: on a slow Redis its reply comes sooner than a connection is made.
        """
        if self._store.at.cluster is not None:
            return await self._answers_of_node(pace, calls)
        attempts: set[asyncio.Task[list[Any]]] = set()
        pause = FIRST_WAIT
        try:
            while True:
                attempts.add(asyncio.ensure_future(self._attempt(pace, calls)))
                ended, attempts = await asyncio.wait(
                    attempts, timeout=pace.timeout, return_when=asyncio.FIRST_COMPLETED
                )
                for attempt in ended:
                    if not isinstance(attempt.exception(), StoreUnavailable):
                        return attempt.result()
                if ended:
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                    pause = min(LONGEST_WAIT, 2 * pause)
                else:
                    pace.missed()
                    if self._store.recorder is not None:
                        self._store.recorder.stumbled(TimeoutError("no reply to a renewal"))
        finally:
            for attempt in attempts:
                attempt.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)

    async def _answers_of_node(self, pace: Pace, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls on a node of a cluster; try again for a moment, as long as it refuses connections."""
        began, pause = monotonic(), FIRST_WAIT
        while True:
            asked = monotonic()
            answers = await self._store.run_each(calls, patience=0.0)
            if not any(isinstance(answer, StoreUnavailable) for answer in answers):
                pace.answered(monotonic() - asked)
                return answers
            if monotonic() - began + pause > PATIENCE_SHARE * self._lease:
                return answers
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(LONGEST_WAIT, 2 * pause)

    async def _attempt(self, pace: Pace, calls: Sequence[Call[Any]]) -> list[Any]:
        asked = monotonic()
        answers = await self._store.run_many(calls, patience=0.0)
        pace.answered(monotonic() - asked)
        return answers


class Renewals:
    """Renews the leases on the boards of a worker's children, and reports lost leases to the children.

    Args:
        renewer: Renews leases.
        connection: Receives the results, for the line about the end of an outage.
        children: Returns a copy of the list of children.
        every: Seconds between two rounds.
    """

    def __init__(
        self,
        renewer: LeaseRenewer,
        connection: Connection,
        *,
        children: Callable[[], Iterable[ChildHandle]],
        every: float,
    ) -> None:
        self._renewer = renewer
        self._connection = connection
        self._children = children
        self._every = every

    async def keep_on(self) -> None:
        """Renew the leases in rounds. The leases of a frozen child expire."""
        while True:
            began = monotonic()
            self._connection.begin_round()
            failures: list[Exception] = []  # raised after the round: the others need their leases
            try:
                await self._renew(failures)
            except (JobfleetError, ValueError) as error:
                log.error("leases.not_renewed %s", error)
                self._connection.not_renewed()
            except Exception as error:  # noqa: BLE001 - see above
                failures.append(error)
            if failures:
                self._connection.not_renewed()
            self._connection.end_round()
            if failures:
                raise failures[0]
            await self._connection.pause(max(0.0, self._every - (monotonic() - began)))

    async def _renew(self, failures: list[Exception]) -> None:
        """Renew the leases of all children together: on a slow Redis, one must not wait for the others."""
        boards: list[tuple[ChildHandle, list[Posted]]] = []
        for handle in self._children():
            try:
                boards += [(handle, handle.posted())] if handle.stopped_at is None else []
            except Exception as error:  # noqa: BLE001 - see `keep_on`
                failures.append(error)
        news = await self._renewer.renew([one for _, posted in boards for one in posted])
        for handle, posted in boards:
            own = {one.key for one in posted}
            try:
                self._tell(handle, [part.about(own) for part in news])
            except Exception as error:  # noqa: BLE001 - see `keep_on`
                failures.append(error)
        for part in news:
            self._connection.renewed(part)

    def _tell(self, handle: ChildHandle, news: Sequence[News]) -> None:
        for part in news:
            if part.standing:
                handle.tell("renewed", part.until, part.standing)
        lost = [one for part in news for one in part.lost]
        if lost:  # runs that were settled meanwhile are no longer on the board
            still = {one.key for one in handle.posted()}
            lost = [one for one in lost if one in still]
        if lost or self._connection.outage.is_returning:
            handle.examine(lost)
        for part in news:
            for one in part.cancelled:
                handle.cancel(one.id, one.token, one.by)
