"""Renewing leases: read the boards, renew a lane's leases in one script, say what was lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from jobfleet.clock import boottime
from jobfleet.errors import JobfleetError, JobNotFound
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.lease import CHUNK, renew
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Cancelling
from jobfleet.worker.ipc.lease_board import Posted


@dataclass(slots=True)
class News:
    """What a renewal brought.

    Attributes:
        standing: The leases that stand: id and token of each.
        until: Until when, by the boot-time clock, taken before the call was sent.
        lost: Those that stand no more.
        cancelled: Jobs that are to stop.
    """

    standing: list[tuple[str, int]] = field(default_factory=list)
    until: float = 0.0
    lost: list[tuple[str, int]] = field(default_factory=list)
    cancelled: list[Cancelling] = field(default_factory=list)


class LeaseRenewer:
    """Renews the leases of the jobs on boards.

    Args:
        store: How.
        keys: The fleet's keys.
        lease_us: For how long.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, *, lease_us: int) -> None:
        self._store = store
        self._keys = keys
        self._lease_us = lease_us

    async def renew(self, posted: Iterable[Posted]) -> News:
        """Renew what is posted.

        A primary that lives on after a failover does not know what its successor has granted. So a loss is believed
        only once it is known that the address still leads to the server that tells of it.
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
            except JobNotFound:  # no id of ours: it must not keep the others from being renewed
                none.append(one.key)
        parts = [(lane, held[at : at + CHUNK]) for lane, held in by_lane.items() for at in range(0, len(held), CHUNK)]
        news = News(until=boottime() + self._lease_us / 1e6, lost=none)
        if not parts:
            return news
        answers = await self._store.run_many([renew(lane, part, lease_us=self._lease_us) for lane, part in parts])
        for (_, part), answer in zip(parts, answers, strict=True):
            if isinstance(answer, JobfleetError):
                raise answer
            lost = set(answer.lost)
            news.standing += [one for one in part if one not in lost]
            news.lost += answer.lost
            news.cancelled += answer.cancelled
        return news
