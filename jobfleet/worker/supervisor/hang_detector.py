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
from jobfleet.worker.supervisor.child_handle import ChildHandle
from jobfleet.worker.supervisor.metrics import WorkerMetrics

log = logging.getLogger("jobfleet.worker")
LOOK_LEAST, LOOK_MOST = 0.05, 1.0


@dataclass(slots=True)
class _Watched:
    stamp: float
    still: float = 0.0
    is_hung: bool = False


class HangDetector:
    """Watches a worker's children.

    Args:
        children: The children by process id, as they come and go.
        after: Seconds without a turn of the loop after which a child hangs.
        kill: Whether to kill it then.
        scrape: Counts.
    """

    def __init__(self, children: Mapping[int, ChildHandle], *, after: float, kill: bool, scrape: WorkerMetrics) -> None:
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
        there = {handle.child for handle in children}
        self._watched = {child: one for child, one in self._watched.items() if child in there}
        for handle in children:
            stamp = handle.turned_at
            watched = self._watched.setdefault(handle.child, _Watched(stamp))
            if stamp == 0.0 or handle.stopped_at is not None:  # it need not turn; or it is frozen, which others see to
                watched.still = 0.0
            elif stamp != watched.stamp:
                self._turns(handle, watched, stamp)
            else:
                watched.still += passed
                if watched.still >= self._after and not watched.is_hung:
                    watched.is_hung = True
                    await self._hangs(handle, watched)

    @staticmethod
    def _turns(handle: ChildHandle, watched: _Watched, stamp: float) -> None:
        if watched.is_hung:
            log.warning("child.turns again child=%s hung=%.1fs", handle.child, watched.still)
        watched.stamp, watched.still, watched.is_hung = stamp, 0.0, False

    async def _hangs(self, handle: ChildHandle, watched: _Watched) -> None:
        still = watched.still
        held = ", ".join(one.id for one in handle.posted()) or "nothing"
        log.error("child.hung child=%s pid=%d for=%.1fs holds %s", handle.child, handle.pid, still, held)
        self._scrape.hung()
        await show_stacks(handle)
        if self._kill and handle.turned_at == watched.stamp:
            log.error("child.killed child=%s it hung", handle.child)
            handle.killed_for = f"its process hung for {still:.1f} s and was killed"
            handle.kill(signal.SIGKILL)


async def show_stacks(handle: ChildHandle) -> None:
    """Log what the threads of a child are doing."""
    if not handle.is_ready:
        return  # it does not listen to the signal yet
    stacks = await handle.stacks()
    if stacks:
        log.warning("child.stacks child=%s pid=%d\n%s", handle.child, handle.pid, stacks)
    else:
        log.warning("child.stacks child=%s pid=%d shows none", handle.child, handle.pid)
