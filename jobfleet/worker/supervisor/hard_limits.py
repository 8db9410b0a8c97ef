"""What a child cannot do for itself: end a run that holds its loop, the GIL, or a thread for ever.

A child whose run is past its hard limit, or was cancelled and heeds nothing, is condemned. Its
successor starts first; the child claims nothing more and finishes its other jobs; then it is killed,
and the undertaker settles the condemned run. Nothing of it needs the child's help: limits stand on
its board, and cancellations came through here. A child that can still act does so first, and moves
the limit on its board by the time that its own act may take.

Time is counted in looks, each for no more than it should have taken: a machine that stood still, or a
supervisor that was frozen with its children, accuses nobody.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.outcome import Cancelled, TimedOut
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.control import stop
from jobfleet.store.keys import Keyspace
from jobfleet.worker.ipc.lease_board import Phase
from jobfleet.worker.supervisor.child_handle import ChildHandle
from jobfleet.worker.supervisor.children import Children

log = logging.getLogger("jobfleet.worker")
LOOK_EVERY = 0.25
PATIENCE = 1.5
"""Seconds of looks past a limit that are left to the child itself."""
SLACK = 0.75
"""Seconds of looks past the last stage of a cancellation that are left to it."""
STAGES = 3
"""Stages after the first that an executor may have, each with its grace."""
SENDING = 1.0
"""Seconds that ends of other jobs may still be on their way."""
LATE = 999_999
"""The number of what a supervisor notes: it comes after everything the run itself has told."""

Key = tuple[str, int]


class HardLimits:
    """Ends the children of one worker that hold a run which nothing else can end.

    Args:
        nursery: The children.
        store: How stages are noted.
        keys: The fleet's keys.
        config: Where the graces stand.
    """

    def __init__(self, child_processes: Children, store: AsyncStore, keys: Keyspace, config: JobConfig) -> None:
        self._child_processes = child_processes
        self._store = store
        self._keys = keys
        self._grace = config.grace
        self._cancel_after = config.cancel_grace + STAGES * config.stop_grace + SLACK
        self._noting: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Look for ever; a child without limits or cancellations costs a byte read."""
        looked = monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            before, looked = looked, monotonic()
            for handle in list(self._child_processes.handle.values()):
                self.look(handle, looked, looked - before)

    def look(self, handle: ChildHandle, now: float, passed: float) -> None:
        """Look at one child.

        Args:
            kin: The child.
            now: The time (monotonic clock, which the child shares).
            passed: Seconds since the look before.
        """
        passed = min(passed, LOOK_EVERY)
        overdue = handle.overdue(now)
        # Seen once is not enough: it may be the limit of an earlier run, read beside this one.
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
            del handle.verdicts[key]  # it has ended by itself, and its child settles it
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
            log.error("child.condemned child=%s job_id=%s %s", handle.child, job_id, _told(verdict))
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
        """Kill the child once only condemned runs are left in it, or its grace is over."""
        others = {key: phase for key, phase in phases.items() if key not in handle.verdicts}
        if handle.lone_since is None or any(phase.is_in_code for phase in others.values()):
            handle.lone_since = waited
        is_due = not others or waited - handle.lone_since >= SENDING
        if handle.verdicts and not handle.is_leaving and (is_due or waited >= self._grace):
            log.error("child.killed child=%s for %s", handle.child, ", ".join(job_id for job_id, _ in handle.verdicts))
            handle.is_leaving = True
            handle.kill(signal.SIGKILL)


def _is_in_code(phases: dict[Key, Phase], key: Key) -> bool:
    phase = phases.get(key)
    return phase is not None and phase.is_in_code


def _told(verdict: TimedOut | Cancelled) -> str:
    match verdict:
        case TimedOut(limit):
            return f"did not end within {limit:g} s"
        case Cancelled(by):
            return f"was cancelled by {by} and does not stop"
