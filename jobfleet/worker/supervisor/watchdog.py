"""What a supervisor ends by force: children that hang, and runs past their hard limits that a child cannot end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from jobfleet.clock import boottime, monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.outcome import Cancelled, TimedOut
from jobfleet.services.long_lived import for_each
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.control import stop
from jobfleet.store.keys import Keyspace
from jobfleet.worker.ipc.lease_board import Phase
from jobfleet.worker.ipc.usage import Process
from jobfleet.worker.supervisor.child_handle import ChildHandle
from jobfleet.worker.supervisor.children import Children
from jobfleet.worker.supervisor.metrics import WorkerMetrics

log = logging.getLogger("jobfleet.worker")
LOOK_LEAST, LOOK_MOST = 0.05, 1.0


@dataclass(slots=True)
class _Watched:
    stamp: float
    still: float = 0.0
    is_hung: bool = False


class HangDetector:
    """Watches the children of a worker: logs an event loop that does not turn, and can kill the child.

    A child stamps its board every quarter of `hang_after`. Time is measured as the sum of check intervals, each capped.
    Therefore a suspended machine, or a supervisor that was frozen with its children, raises no false alarm.

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


LOOK_EVERY = 0.25
PATIENCE = 1.5
"""Seconds after a limit that are left to the child itself."""
SLACK = 0.75
"""Seconds after the last stage of a cancellation that are left to the child itself."""
STAGES = 3
"""Maximum number of an executor's stages after the first, each with its grace."""
SENDING = 1.0
"""Seconds for which endings of other jobs may still be sent."""
LATE = 999_999
"""The number of a supervisor's event; it sorts after all events of the run itself."""

Key = tuple[str, int]


class HardLimits:
    """Kills the children of a worker that hold a run which nothing else can end.

    A child is condemned if one of its runs exceeds its hard limit, or ignores its cancellation. Its successor starts
    first. The child claims nothing more and finishes its other jobs. Then it is killed, and the crash recovery settles
    the condemned run. This needs no help from the child: limits are on its board, and cancellations pass through the
    supervisor. A child that can still act does so first, and postpones the limit on its board by the time it needs.

    Time is measured as the sum of check intervals, each capped. Therefore a suspended machine, or a supervisor that was
    frozen with its children, condemns no child.

    Args:
        child_processes: The children.
        store: The connection to Redis, for the stages.
        keys: The fleet's keys.
        config: The settings, for the graces.
    """

    def __init__(self, child_processes: Children, store: AsyncStore, keys: Keyspace, config: JobConfig) -> None:
        self._child_processes = child_processes
        self._store = store
        self._keys = keys
        self._grace = config.grace
        self._cancel_after = config.cancel_grace + STAGES * config.stop_grace + SLACK
        self._noting: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Check repeatedly; a child without limits or cancellations costs one byte read."""
        looked = monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            before, looked = looked, monotonic()
            look = partial(self.look, now=looked, passed=looked - before)
            for_each(list(self._child_processes.by_pid.values()), look)

    def look(self, handle: ChildHandle, now: float, passed: float) -> None:
        """Check one child.

        Args:
            handle: The child.
            now: The time (monotonic clock, which the child shares).
            passed: Seconds since the previous check.
        """
        passed = min(passed, LOOK_EVERY)
        overdue = handle.overdue(now)
        # One observation is not enough, because the limit may belong to an earlier run of the same record.
        handle.past = {key: handle.past[key] + passed if key in handle.past else 0.0 for key in overdue}
        if not (overdue or handle.asked or handle.verdicts):
            return
        phases = {one.key: one.phase for one in handle.posted()}
        for key, limit in overdue.items():
            if handle.past[key] >= PATIENCE:
                handle.verdicts.setdefault(key, TimedOut(limit))
        for key, (by, waited) in list(handle.asked.items()):
            if not _is_in_code(phases, key):
                del handle.asked[key]
            elif waited >= self._cancel_after:
                handle.verdicts.setdefault(key, Cancelled(by))
            else:
                handle.asked[key] = (by, waited + passed)
        for key in [key for key in handle.verdicts if not _is_in_code(phases, key)]:
            del handle.verdicts[key]  # it has ended by itself, so its child settles it
        if handle.condemned_for is not None:
            handle.condemned_for += passed
            self._execute(handle, handle.condemned_for, phases)
        elif handle.verdicts:
            self._condemn(handle)
            self._execute(handle, 0.0, phases)

    def _condemn(self, handle: ChildHandle) -> None:
        handle.condemned_for = 0.0
        self._child_processes.replace(handle, self._grace)
        for (job_id, _), verdict in handle.verdicts.items():
            log.error("child.condemned child=%s job_id=%s %s", handle.child, job_id, _describe(verdict))
        task = asyncio.get_running_loop().create_task(self._note(dict(handle.verdicts)))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _note(self, verdicts: dict[Key, TimedOut | Cancelled]) -> None:
        for (job_id, token), verdict in verdicts.items():
            if isinstance(verdict, Cancelled):
                with suppress(JobfleetError):
                    lane = self._keys.lane_of(job_id)
                    await self._store.run(stop(lane, ((job_id, token, LATE, "condemned"),)))

    def _execute(self, handle: ChildHandle, waited: float, phases: dict[Key, Phase]) -> None:
        """Kill the child when only condemned runs are left in it, or its grace is over."""
        others = {key: phase for key, phase in phases.items() if key not in handle.verdicts}
        if handle.lone_since is None or any(phase.is_in_code or phase.is_in_hooks for phase in others.values()):
            handle.lone_since = waited
        is_due = not others or waited - handle.lone_since >= SENDING
        if handle.verdicts and not handle.is_leaving and (is_due or waited >= self._grace):
            log.error(
                "child.killed child=%s because of %s", handle.child, ", ".join(job_id for job_id, _ in handle.verdicts)
            )
            handle.is_leaving = True
            handle.kill(signal.SIGKILL)


def _is_in_code(phases: dict[Key, Phase], key: Key) -> bool:
    phase = phases.get(key)
    return phase is not None and phase.is_in_code


def _describe(verdict: TimedOut | Cancelled) -> str:
    match verdict:
        case TimedOut(limit):
            return f"did not end within {limit:g} s"
        case Cancelled(by):
            return f"was cancelled by {by} and does not stop"
