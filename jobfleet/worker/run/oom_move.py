"""Moves a job that ran out of memory to another queue, the `on_oom` of its function.

The new job is enqueued first, then the old one is closed as cancelled. The new id derives from the old one, so there is
exactly one new job, even if a process dies in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from jobfleet.errors import JobfleetError
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive_own
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import control, settle
from jobfleet.store.keys import TOMBSTONE_MS
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")


class OomMover:
    """Moves jobs to other queues.

    Args:
        store: The connection.
        context: The keys and the settings of the fleet.
    """

    def __init__(self, store: AsyncStore, context: FleetContext) -> None:
        self._store = store
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    async def move(self, run: Run, queue: str) -> settle.Move | None:
        """Enqueue a run's job in another queue.

        Args:
            run: The run, which is over.
            queue: The other queue.

        Returns:
            What settles the run; None when the other queue does not accept the job.

        Raises:
            NotWritten: Nothing can be written now.
        """
        from jobfleet.operations.jobs.moved_job import MovingJob, enqueue_in  # most children never move a job

        grant = run.grant
        job = MovingJob(run.id, grant.band, "", grant.meta, grant.envelope, has_started=True)
        try:
            moved_to = await drive_own(self._store, enqueue_in(self._context, job, queue))
        except (JobfleetError, OSError) as error:
            log.error("job.not_moved job_id=%s queue=%s %s", run.id, queue, error)
            return None
        log.warning("job.moved job_id=%s to=%s it ran out of memory", run.id, moved_to)
        return settle.move(run.id, run.token, to=moved_to, ttl_ms=TOMBSTONE_MS)

    def settled(self, run: Run, item: settle.Move, letter: str) -> None:
        """Cancel the new job if the old one was cancelled in the meantime, or another run owns it by now.

        Args:
            run: The run of the old job.
            item: What has settled it.
            letter: The answer of the script.
        """
        if letter in "cl":
            self.spawn(self._cancel_new(item.to, by=run.stop.cancel_by))

    async def _cancel_new(self, job_id: str, by: str | None) -> None:
        keys = self._context.keys
        await self._store.run(control.cancel(keys, keys.lane_of(job_id), [job_id], by=by, ttl_ms=TOMBSTONE_MS))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a step of a move in the background; `drained` waits for it."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self, timeout: float) -> None:
        """Wait until all moves are done, for at most `timeout` seconds."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout)


def larger_queue(run: Run) -> str:
    """The queue for a job that ran out of memory; empty when there is none, or the job is there already."""
    isolation = run.handler.function.isolation if run.handler is not None else None
    return isolation.on_oom if isolation is not None and isolation.on_oom != run.lane.queue else ""
