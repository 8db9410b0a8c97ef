"""A worker's connection to Redis: its outages, and what became of the leases when one is over."""

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
    """Speaks of Redis for a worker and all its processes.

    After an outage all leases are renewed at once, not at the next interval, and the line that says so tells how many
    were renewed and how many were lost meanwhile.

    Args:
        url: Where Redis is, masked.
        log: The worker's logger.
        tally: Where outages are counted.
        held: The jobs that the worker holds: id and token of each.

    Attributes:
        outage: The recorder for the store that renews.
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
        return f"{count} running jobs go on; none is claimed, renewed or settled until Redis answers"

    def _note_held(self) -> None:
        self._held_before = set(self._held())

    def _hurry_up(self) -> None:
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
            lost = self._held_before & self._lost
            renewed = self._held_before & self._renewed - lost
            settled = self._held_before - renewed - lost  # their ends were sent before their leases were renewed
            self.outage.settle(renewed=len(renewed), settled=len(settled), lost=len(lost))
            self._renewed.clear()
            self._lost.clear()

    async def pause(self, seconds: float) -> None:
        """Wait until the next round is due: that is at once when Redis is back."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)
        self._hurry.clear()
