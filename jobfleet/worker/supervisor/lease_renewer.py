"""Renewal of leases: reads the boards, renews the leases of a lane in one script, and reports lost leases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from jobfleet.clock import boottime
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.lease import CHUNK, renew
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Cancelling
from jobfleet.worker.ipc.lease_board import Posted

PATIENCE_SHARE = 1 / 6
"""The share of a lease for which a node of a cluster is waited for; the next round is a third of a lease later."""


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


class LeaseRenewer:
    """Renews the leases of the jobs on boards.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        lease_us: The duration of a lease in µs.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, *, lease_us: int) -> None:
        self._store = store
        self._keys = keys
        self._lease_us = lease_us

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
        news = News(until=boottime() + self._lease_us / 1e6, lost=none)
        if not parts:
            return news
        calls = [renew(lane, part, lease_us=self._lease_us) for lane, part in parts]
        answers = await self._store.run_each(calls, patience=PATIENCE_SHARE * self._lease_us / 1e6)
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
