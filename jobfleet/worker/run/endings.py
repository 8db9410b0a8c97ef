"""Endings that need more than a record: large results are stored first, and a job out of memory moves to a queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from jobfleet.errors import ConfigError, JobfleetError, PayloadUnavailable
from jobfleet.event_loop import in_thread
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive_own
from jobfleet.payloads.payloads import RESULT, Payloads
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import control, settle
from jobfleet.store.calls.settle import BriefCompletion, Completion
from jobfleet.store.keys import TOMBSTONE_MS
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")


class OomMover:
    """Moves jobs that ran out of memory to another queue, the `on_oom` of their function.

    The new job is enqueued first, then the old one is closed as cancelled. The new id derives from the old one, so
    there is exactly one new job, even if a process dies in between.

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
        from jobfleet.operations.jobs.steer import MovingJob, enqueue_in  # most children never move a job

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


PAUSES = (0.1, 0.5, 2.0, 5.0, 10.0)
"""Seconds between the attempts to write a result. The run keeps its lease meanwhile."""


class StoredResults:
    """Puts results into the payload store.

    Args:
        payloads: The store; None if the worker has none.
        check: Checks that it is the store of the fleet.
        inline_max: The largest record, in bytes, that does not go to the store.
        redis_max: The largest record, in bytes, that Redis takes if the store is away.
    """

    def __init__(
        self, payloads: Payloads | None, check: Callable[[], Awaitable[None]], *, inline_max: int, redis_max: int
    ) -> None:
        self._payloads = payloads
        self._check = check
        self._redis_max = redis_max
        self.inline_max = inline_max

    async def stowed(self, run: Run, item: Completion | BriefCompletion) -> Completion | BriefCompletion:
        """The completion with a reference in place of its value.

        Raises:
            PayloadUnavailable: The store is away, and the result is too large for Redis.
        """
        assert self._payloads is not None  # noqa: S101 - without a store, no record is too large
        failure = ""
        for pause in (0.0, *PAUSES):
            await asyncio.sleep(pause)
            try:
                await self._check()
                return item._replace(record=await in_thread(self._payloads.stow, run.id, RESULT, item.record))
            except (PayloadUnavailable, ConfigError) as error:
                failure = str(error)
                log.warning("job.result_not_stored job_id=%s %s", run.id, failure, extra={"run": run})
        if len(item.record) <= self._redis_max:
            log.warning("job.result_in_redis job_id=%s bytes=%d", run.id, len(item.record), extra={"run": run})
            return item
        raise PayloadUnavailable(
            f"The result has {len(item.record):,} bytes, which is too much for Redis (max_payload), and: {failure}"
        )
