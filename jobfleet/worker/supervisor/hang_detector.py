"""Hung children: whose event loop does not turn is seen by its supervisor, shown, and if so wished killed.

A child stamps its board every quarter of `hang_after`. Time is counted in looks, each for no more than it should have
taken: a machine that slept, or a supervisor that was frozen with its children, accuses nobody.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from jobfleet.clock import boottime
from jobfleet.worker.supervisor.child_handle import Kin
from jobfleet.worker.supervisor.metrics import Scrape

log = logging.getLogger("jobfleet.worker")
LOOK_LEAST, LOOK_MOST = 0.05, 1.0


@dataclass(slots=True)
class _Watched:
    stamp: float
    still: float = 0.0
    is_hung: bool = False


class Hangs:
    """Watches a worker's children.

    Args:
        children: The children by process id, as they come and go.
        after: Seconds without a turn of the loop after which a child hangs.
        kill: Whether to kill it then.
        scrape: Counts.
    """

    def __init__(self, children: Mapping[int, Kin], *, after: float, kill: bool, scrape: Scrape) -> None:
        self._children = children
        self._after = after
        self._kill = kill
        self._scrape = scrape
        self._watched: dict[str, _Watched] = {}
        self._every = min(LOOK_MOST, max(LOOK_LEAST, after / 8))

    @property
    def count(self) -> int:
        """How many children hang now."""
        return sum(one.is_hung for one in self._watched.values())

    async def watch(self) -> None:
        """Look for ever."""
        looked = boottime()
        while True:
            await asyncio.sleep(self._every)
            before, looked = looked, boottime()
            await self._look(min(looked - before, 2 * self._every))

    async def _look(self, passed: float) -> None:
        children = list(self._children.values())
        there = {kin.child for kin in children}
        self._watched = {child: one for child, one in self._watched.items() if child in there}
        for kin in children:
            stamp = kin.turned_at
            watched = self._watched.setdefault(kin.child, _Watched(stamp))
            if stamp == 0.0 or kin.stopped_at is not None:  # it need not turn; or it is frozen, which others see to
                watched.still = 0.0
            elif stamp != watched.stamp:
                self._turns(kin, watched, stamp)
            else:
                watched.still += passed
                if watched.still >= self._after and not watched.is_hung:
                    watched.is_hung = True
                    await self._hangs(kin, watched)

    @staticmethod
    def _turns(kin: Kin, watched: _Watched, stamp: float) -> None:
        if watched.is_hung:
            log.warning("child.turns again child=%s hung=%.1fs", kin.child, watched.still)
        watched.stamp, watched.still, watched.is_hung = stamp, 0.0, False

    async def _hangs(self, kin: Kin, watched: _Watched) -> None:
        still = watched.still
        held = ", ".join(one.id for one in kin.posted()) or "nothing"
        log.error("child.hung child=%s pid=%d for=%.1fs holds %s", kin.child, kin.pid, still, held)
        self._scrape.hung()
        await show_stacks(kin)
        if self._kill and kin.turned_at == watched.stamp:
            log.error("child.killed child=%s it hung", kin.child)
            kin.killed_for = f"its process hung for {still:.1f} s and was killed"
            kin.kill(signal.SIGKILL)


async def show_stacks(kin: Kin) -> None:
    """Log what the threads of a child are doing."""
    if not kin.is_ready:
        return  # it does not listen to the signal yet
    stacks = await kin.stacks()
    if stacks:
        log.warning("child.stacks child=%s pid=%d\n%s", kin.child, kin.pid, stacks)
    else:
        log.warning("child.stacks child=%s pid=%d shows none", kin.child, kin.pid)
