"""Detection of hung children: the supervisor notices an event loop that does not turn, logs it, and can kill the child.

A child stamps its board every quarter of `hang_after`. Time is measured as the sum of check intervals, each capped.
Therefore a suspended machine, or a supervisor that was frozen with its children, raises no false alarm.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from jobfleet.clock import boottime
from jobfleet.worker.ipc.usage import Process
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
    """Watches the children of a worker.

    Args:
        children: The current children by process id.
        after: Seconds without a turn of the loop after which a child counts as hung.
        kill: Whether to kill a hung child.
        metrics: Counts the hangs.
    """

    def __init__(
        self, children: Mapping[int, ChildHandle], *, after: float, kill: bool, metrics: WorkerMetrics
    ) -> None:
        self._children = children
        self._after = after
        self._kill = kill
        self._metrics = metrics
        self._watched: dict[str, _Watched] = {}
        self._every = min(LOOK_MOST, max(LOOK_LEAST, after / 8))

    @property
    def count(self) -> int:
        """Number of children that hang now."""
        return sum(one.is_hung for one in self._watched.values())

    def processes(self, slots: int) -> list[Process]:
        """Describe the children; each has this number of slots."""
        return [self._process(handle, slots) for handle in self._children.values()]

    def _process(self, handle: ChildHandle, slots: int) -> Process:
        state, running, still = self._state(handle), handle.running, 0.0
        if state == "hung":  # it cannot report what it runs
            running = max(running, sum(one.phase.is_in_code for one in handle.posted()))
            still = round(self._watched[handle.child].still, 3)
        return Process(handle.child, handle.pid, state, running, slots, handle.usage, still)

    def _state(self, handle: ChildHandle) -> str:
        watched = self._watched.get(handle.child)
        if handle.stopped_at is not None:
            return "frozen"
        if watched is not None and watched.is_hung:
            return "hung"
        if not handle.is_ready:
            return "loading"
        return "draining" if handle.is_draining else "running"

    async def watch(self) -> None:
        """Check repeatedly."""
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
            if (
                stamp == 0.0 or handle.stopped_at is not None
            ):  # it need not turn, or it is frozen, which is handled elsewhere
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
        self._metrics.hung()
        await show_stacks(handle)
        if self._kill and handle.turned_at == watched.stamp:
            log.error("child.killed child=%s because it hung", handle.child)
            handle.killed_for = f"its process hung for {still:.1f} s and was killed"
            handle.kill(signal.SIGKILL)


async def show_stacks(handle: ChildHandle) -> None:
    """Log the stacks of a child's threads."""
    if not handle.is_ready:
        return  # it does not handle the signal yet
    stacks = await handle.stacks()
    if stacks:
        log.warning("child.stacks child=%s pid=%d\n%s", handle.child, handle.pid, stacks)
    else:
        log.warning("child.stacks child=%s pid=%d shows none", handle.child, handle.pid)
