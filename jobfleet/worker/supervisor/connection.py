"""A worker's connection to Redis: its outages, and the state of its leases after an outage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from jobfleet.metrics.outage import Outage
from jobfleet.metrics.tally import Tally
from jobfleet.worker.supervisor.lease_renewer import News

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
            await asyncio.wait_for(self._hurry.wait(), seconds)
        self._hurry.clear()
