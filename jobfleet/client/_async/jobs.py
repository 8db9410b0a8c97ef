"""Jobs: enqueue, poll, wait, cancel, replay."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jobfleet.client._async.connection import AsyncConnection, AsyncReceiptIterator
from jobfleet.client._async.receipts import AsyncReceipts
from jobfleet.client.base import PollSchedule
from jobfleet.errors import JobNotFound, WaitTimeout
from jobfleet.functions.decorator import Decorator
from jobfleet.functions.registry import JobFunction
from jobfleet.model import Job, JobResult
from jobfleet.model.options import Seconds
from jobfleet.operations.jobs import cancel as jobs_cancel
from jobfleet.operations.jobs import poll as jobs_poll
from jobfleet.operations.jobs import replay as jobs_replay
from jobfleet.operations.workers import info as workers_info
from jobfleet.store.pubsub import AsyncListener


class AsyncJobs(AsyncConnection):
    """What a client does with jobs."""

    async def enqueue(self, job: Job) -> str:
        """Put a job into the fleet; return its id. Enqueueing the same object, or id, again is harmless.

        Raises:
            DuplicateJob: Another job holds its unique key, and it asked to be told so.
            EncodingError: An argument cannot travel.
            FleetFull: Redis has no memory left.
            StoreUnavailable: Redis was away for too long; repeating the call is safe.
        """
        receipt = await self.submit(job)
        return receipt.id

    def enqueue_many(self, jobs: Iterable[Job], *, chunk: int = 1000) -> AsyncReceiptIterator:
        """Put many jobs into the fleet, in bounded memory; a receipt each, in order.

        The jobs are taken from the iterable while the receipts are iterated. The receipts of an awaited client can be
        awaited, too: that gives a list. A job that is refused has its error in its receipt; the others continue. With
        ids of your own an interrupted run can be repeated.

        Args:
            jobs: The jobs.
            chunk: How many are answered together. They are sent as they are written down, and Redis works meanwhile.

        Raises:
            StoreUnavailable: Redis was away for too long.
        """
        return AsyncReceipts(self, jobs, chunk)

    async def poll(self, job_id: str) -> JobResult[Any]:
        """What is known of a job; of one that Redis has let go, what the archive knows, if there is one.

        Raises:
            JobNotFound: Nothing is.
        """
        try:
            return await self._do(jobs_poll.poll(self.context, job_id))
        except JobNotFound:
            return await self._from_archive(job_id)

    async def poll_many(self, ids: Sequence[str]) -> list[JobResult[Any] | None]:
        """What is known of some jobs, in one round trip; None for those unknown, to the archive too."""
        found = await self._do(jobs_poll.poll_many(self.context, ids))
        return await self._filled_from_archive(ids, found)

    async def wait(self, job_id: str, timeout: Seconds | None = None) -> JobResult[Any]:
        """Wait for a job's end. Woken by pub/sub, correct without it.

        Raises:
            InvalidJob: `timeout` is no duration.
            JobNotFound: It is not known.
            WaitTimeout: `timeout` seconds went by.
        """
        patience = PollSchedule(self.context.config, timeout)
        result = await self.poll(job_id)
        if result.status.is_final:
            return result
        listener = AsyncListener(self.store.at, (self.context.keys.lane_of(job_id).job_events(job_id),))
        try:
            await listener.subscribed()
            while True:
                if patience.should_mark:
                    await self._do(jobs_poll.listen(self.context, job_id))
                result = await self.poll(job_id)
                if result.status.is_final:
                    return result
                if patience.should_warn:
                    await self._warn_unserved(result)
                if patience.is_over:
                    raise WaitTimeout(job_id, patience.timeout or 0.0)
                await listener.get(patience.next())
        finally:
            await listener.close()

    async def _warn_unserved(self, result: JobResult[Any]) -> None:
        workers = await self._do(workers_info.workers(self.context))
        if not any(result.queue in worker.queues for worker in workers if not worker.is_gone):
            warnings.warn(f"No live worker serves the queue {result.queue!r}; start one.", UserWarning, stacklevel=3)

    async def cancel(self, job_id: str, *, by: str | None = None) -> bool:
        """End a waiting job, or ask a running one to stop; False when it has ended already.

        Raises:
            JobNotFound: It is not known.
        """
        return await self._do(jobs_cancel.cancel(self.context, job_id, by))

    async def replay(
        self,
        job_id: str,
        *,
        by: str | None = None,
        fresh: bool = False,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
    ) -> bool:
        """Put a dead job back into its queue; False when it is open again already: then nothing is changed.

        Args:
            job_id: The job.
            by: Who does it, for the record.
            fresh: Whether steps that were done are done again.
            args: Positional arguments in the place of its own; default those. All else stays as it was enqueued,
                its unique key too.
            kwargs: Named arguments, likewise.

        Raises:
            JobNotFound: There is no such dead letter.
            DuplicateJob: Its unique key is held by another job.
            EncodingError: An argument cannot travel, or what is to stay cannot be read; nothing is changed.
        """
        wanted = jobs_replay.arguments_of(args, kwargs)
        return await self._do(jobs_replay.replay(self.context, job_id, by, wanted=wanted, fresh=fresh))

    async def purge(self, job_id: str) -> bool:
        """Let a dead letter go for good; False when there was none."""
        return await self._do(jobs_replay.purge(self.context, job_id))

    def job(self, function: Any = None, /, **options: Any) -> JobFunction[..., Any, Any] | Decorator:
        """Make a function a job of this fleet; see `jobfleet.job`."""
        if function is not None:
            return self.context.registry.register(function, fleet=self, **options)
        return lambda target: self.context.registry.register(target, fleet=self, **options)  # type: ignore[return-value]
