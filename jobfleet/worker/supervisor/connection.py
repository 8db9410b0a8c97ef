"""A worker's connection to Redis: its outages, and the state of its leases after an outage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from jobfleet.metrics.tally import Tally
from jobfleet.services.outage import Outage
from jobfleet.worker.supervisor.lease_renewer import News

Lease = tuple[str, int]


class Connection:
    """Reports outages of Redis for a worker and all its processes.

    After an outage all leases are renewed at once. The log line about the end of the outage has the numbers of
    renewed and lost leases.

    Args:
        url: The masked URL of Redis.
        log: The worker's logger.
        tally: Counts the outages.
        held: Returns the runs that the worker holds, as id and token.

    Attributes:
        outage: The recorder of the store that renews leases.
    """

    def __init__(self, url: str, log: logging.Logger, tally: Tally, *, held: Callable[[], Iterable[Lease]]) -> None:
        self._held = held
        self.outage = Outage(
            url, log, tally, meanwhile=self._meanwhile, on_loss=self._note_held, on_return=self._hurry_up
        )
        self._hurry = asyncio.Event()
        self._held_before: set[Lease] = set()
        self._renewed: set[Lease] = set()
        self._lost: set[Lease] = set()
        self._is_whole = False

    def _meanwhile(self) -> str:
        count = len(list(self._held()))
        return f"{count} running jobs continue; none is claimed, renewed or settled until Redis replies"

    def _note_held(self) -> None:
        self._held_before = set(self._held())

    def _hurry_up(self) -> None:
        self._hurry.set()

    def begin_round(self) -> None:
        """Start a round that renews all leases."""
        self._is_whole = self.outage.is_returning

    def renewed(self, news: News) -> None:
        """Record the result of one renewal."""
        if self.outage.is_returning:
            self._renewed.update(news.standing)
            self._lost.update(news.lost)

    def not_renewed(self) -> None:
        """Record that a renewal failed."""
        self._is_whole = False

    def end_round(self) -> None:
        """End a round; after an outage, log its effect on the leases."""
        if self._is_whole and self.outage.is_returning:
            lost = self._held_before & self._lost
            renewed = self._held_before & self._renewed - lost
            settled = self._held_before - renewed - lost  # their endings were sent before the renewal of their leases
            self.outage.settle(renewed=len(renewed), settled=len(settled), lost=len(lost))
            self._renewed.clear()
            self._lost.clear()

    async def pause(self, seconds: float) -> None:
        """Wait until the next round is due; that is immediately when Redis is back."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)
        self._hurry.clear()
