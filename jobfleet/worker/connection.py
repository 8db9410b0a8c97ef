"""A worker's connection to Redis: its outages, and what became of the leases when one is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from jobfleet.metrics.tally import Tally
from jobfleet.services.outage import Outage
from jobfleet.worker.keeper import News


class Connection:
    """Speaks of Redis for a worker and all its processes.

    After an outage all leases are renewed at once, not at the next interval, and the line that says so tells how many
    were renewed and how many were lost meanwhile.

    Args:
        url: Where Redis is, masked.
        log: The worker's logger.
        tally: Where outages are counted.
        held: How many jobs the worker holds.

    Attributes:
        outage: The recorder for the store that renews.
    """

    def __init__(self, url: str, log: logging.Logger, tally: Tally, *, held: Callable[[], int]) -> None:
        self._held = held
        self.outage = Outage(url, log, tally, meanwhile=self._meanwhile, on_return=self._returned)
        self._hurry = asyncio.Event()
        self._renewed: set[tuple[str, int]] = set()
        self._lost: set[tuple[str, int]] = set()
        self._is_whole = False

    def _meanwhile(self) -> str:
        return f"{self._held()} running jobs go on; none is claimed, renewed or settled until Redis answers"

    def _returned(self) -> None:
        self._hurry.set()

    def begin_round(self) -> None:
        """All leases are about to be renewed."""
        self._is_whole = self.outage.is_returning

    def renewed(self, news: News) -> None:
        """Some were."""
        if self.outage.is_returning:
            self._renewed.update(news.standing)
            self._lost.update(news.lost)

    def not_renewed(self) -> None:
        """Some could not be."""
        self._is_whole = False

    def end_round(self) -> None:
        """All were tried; after an outage, tell how it ended."""
        if self._is_whole and self.outage.is_returning:
            lost = len(self._lost)
            self.outage.settle(renewed=len(self._renewed - self._lost), lost=lost)
            self._renewed.clear()
            self._lost.clear()

    async def pause(self, seconds: float) -> None:
        """Wait until the next round is due: that is at once when Redis is back."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)
        self._hurry.clear()
