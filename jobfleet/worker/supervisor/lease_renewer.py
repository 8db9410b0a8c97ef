"""Renewal of leases: reads the boards, renews the leases of a lane in one script, and reports lost leases."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobfleet.clock import boottime, monotonic
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.lease import CHUNK, renew
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Cancelling
from jobfleet.store.round_trip.trip import FIRST_WAIT, LONGEST_WAIT
from jobfleet.worker.ipc.lease_board import Posted

log = logging.getLogger("jobfleet.worker")
PATIENCE_SHARE = 1 / 6
"""The share of a lease for which a node of a cluster is waited for; the next round is a third of a lease later."""
LONGER = 2
"""How many times the configured lease a lease lasts on a slow Redis. A tick cuts what is longer (docs/adr/0078)."""
MOST = 8
"""How many times its timeout a reply to a renewal may take before its connection counts as broken."""
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


class Pace:
    """Adapts the timeout of renewals and the duration of leases to the time that Redis takes for a reply.

    Silence lengthens the timeout only. Only a reply that arrives shows whether Redis is slow or was away.

    Args:
        lease: The configured duration of a lease in seconds.
        timeout: Seconds after which a renewal is repeated on a Redis that is not slow.

    Attributes:
        is_slow: Whether Redis replies slowly, so that leases last longer.
    """

    def __init__(self, lease: float, timeout: float) -> None:
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
                log.warning(
                    "leases.longer Redis answers slowly (%.1f s): leases of this worker last %g s now instead of %g s",
                    *(seconds, self.lease, self._lease),
                )
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
            log.info("leases.normal Redis answers quickly again: leases of this worker last %g s", self._lease)


class LeaseRenewer:
    """Renews the leases of the jobs on boards.

    Args:
        store: The connection to Redis. Its timeout for a single server is `MOST` times that of a renewal.
        keys: The fleet's keys.
        lease: The configured duration of a lease in seconds.
        timeout: Seconds without a reply after which a renewal is repeated, as long as Redis is not slow.

    Attributes:
        pace: The timeout and the duration of leases at the moment.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, *, lease: float, timeout: float) -> None:
        self._store = store
        self._keys = keys
        self._patience = PATIENCE_SHARE * lease
        self.pace = Pace(lease, timeout)

    async def renew(self, posted: Iterable[Posted]) -> News:
        """Renew the leases of posted jobs.

        An old primary that stays up after a failover does not know the leases that its successor granted. Therefore a
        loss is accepted only after the address was found to lead to the same server as before.
        """
        held = list(posted)
        news = await self._renew(held)
        if news.lost and await self._store.look_again():
            news = await self._renew(held)
        return news

    async def _renew(self, posted: Iterable[Posted]) -> News:
        by_lane: dict[Lane, list[tuple[str, int]]] = {}
        none: list[tuple[str, int]] = []
        for one in posted:
            try:
                by_lane.setdefault(self._keys.lane_of(one.id), []).append(one.key)
            except JobNotFound:  # not a valid id; it must not prevent the renewal of the others
                none.append(one.key)
        parts = [(lane, held[at : at + CHUNK]) for lane, held in by_lane.items() for at in range(0, len(held), CHUNK)]
        lease = self.pace.lease
        news = News(until=boottime() + lease, lost=none)
        if not parts:
            return news
        answers = await self._answers([renew(lane, part, lease_us=round(lease * 1e6)) for lane, part in parts])
        for (_, part), answer in zip(parts, answers, strict=True):
            if isinstance(answer, StoreUnavailable):  # a node of a cluster is away; the leases of the others go on
                news.is_whole = False
                continue
            if isinstance(answer, JobfleetError):
                raise answer
            lost = set(answer.lost)
            news.standing += [one for one in part if one not in lost]
            news.lost += answer.lost
            news.cancelled += answer.cancelled
        return news

    async def _answers(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls until they have replies.

        A renewal without a reply is repeated on another connection, because the first one may be half open. The first
        one is waited for meanwhile: on a slow Redis its reply comes sooner than a connection is made.
        """
        if self._store.at.cluster is not None:  # the leases on other nodes must not wait for one that is away
            asked = monotonic()
            answers = await self._store.run_each(calls, patience=self._patience)
            if not any(isinstance(answer, StoreUnavailable) for answer in answers):
                self.pace.answered(monotonic() - asked)
            return answers
        attempts: set[asyncio.Task[list[Any]]] = set()
        pause = FIRST_WAIT
        try:
            while True:
                attempts.add(asyncio.ensure_future(self._attempt(calls)))
                ended, attempts = await asyncio.wait(
                    attempts, timeout=self.pace.timeout, return_when=asyncio.FIRST_COMPLETED
                )
                for attempt in ended:
                    if not isinstance(attempt.exception(), StoreUnavailable):
                        return attempt.result()
                if ended:
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                    pause = min(LONGEST_WAIT, 2 * pause)
                else:
                    self.pace.missed()
                    if self._store.recorder is not None:
                        self._store.recorder.stumbled(TimeoutError("no reply to a renewal"))
        finally:
            for attempt in attempts:
                attempt.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)

    async def _attempt(self, calls: Sequence[Call[Any]]) -> list[Any]:
        asked = monotonic()
        answers = await self._store.run_many(calls, patience=0.0)
        self.pace.answered(monotonic() - asked)
        return answers
