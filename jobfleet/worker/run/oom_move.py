"""Continue a job that ran out of memory in another queue, to which the `on_oom` of its function sends it.

The same job is enqueued there first; then the old one is closed as cancelled. The new id is derived from the old one,
so exactly one new job exists, whichever process dies in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from jobfleet.errors import JobfleetError
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import control, settle
from jobfleet.store.retention import TOMBSTONE_MS
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
Finish = Callable[["Run", Any], None]


class OomMover:
    """Moves jobs to other queues.

    Args:
        store: How.
        context: The keys and the settings of the fleet.
        finish: Takes a run and the item that settles it.
    """

    def __init__(self, store: AsyncStore, context: FleetContext, *, finish: Finish) -> None:
        self._store = store
        self._context = context
        self._finish = finish
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def move(self, run: Run, queue: str, otherwise: Callable[[], Any]) -> None:
        """Put a run's job into another queue, then settle the run.

        Args:
            run: The run, which is over.
            queue: Where the job goes on.
            otherwise: What settles the run when the queue does not take the job.
        """
        self._keep(self._move(run, queue, otherwise))

    async def _move(self, run: Run, queue: str, otherwise: Callable[[], Any]) -> None:
        from jobfleet.operations.jobs.moved_job import MovingJob, enqueue_in  # most children never move a job

        grant = run.grant
        job = MovingJob(run.id, grant.band, "", grant.meta, grant.envelope, has_started=True)
        try:
            moved_to = await drive(self._store, enqueue_in(self._context, job, queue))
        except (JobfleetError, OSError) as error:
            log.error("job.not_moved job_id=%s queue=%s %s", run.id, queue, error)
            self._finish(run, otherwise())
            return
        run.ending.moved_to = moved_to
        log.warning("job.moved job_id=%s to=%s it ran out of memory", run.id, moved_to)
        self._finish(run, settle.move(run.id, run.token, to=moved_to, ttl_ms=TOMBSTONE_MS))

    def settled(self, run: Run, letter: str) -> None:
        """Take back what was put down for a run that was cancelled meanwhile, or is somebody else's by now."""
        if letter in "cl":
            self._keep(self._take_back(run))

    async def _take_back(self, run: Run) -> None:
        lane = self._context.keys.lane_of(run.ending.moved_to)
        await self._store.run(
            control.cancel(self._context.keys, lane, [run.ending.moved_to], by=run.stop.cancel_by, ttl_ms=TOMBSTONE_MS)
        )

    def _keep(self, doing: Any) -> None:
        task = self._loop.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self, timeout: float) -> None:
        """Wait until nothing is under way, but at most so many seconds."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout)
