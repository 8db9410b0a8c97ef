"""Enqueue through the local buffer, for a client that has one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from jobfleet.client._async.background import sleep
from jobfleet.client.buffer import JobBuffer
from jobfleet.clock import boottime, monotonic
from jobfleet.errors import DurabilityUnavailable, DurabilityUncertain, JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.model import Job, JobResult, JobStatus, Receipt
from jobfleet.operations.buffer import NotBuffered, needs_redis, not_buffered, prepare_offline
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.enqueue import prepare, stored
from jobfleet.operations.jobs.prepare import Submission
from jobfleet.operations.operation import drive
from jobfleet.operations.submit import Chunk, operation_for, submit_chunk
from jobfleet.store.aio import AsyncStore

LOOK_EVERY = 0.01
"""Seconds between two looks at whether the buffer is flushed."""


class AsyncSender(Protocol):
    """What it needs of a client."""

    @property
    def context(self) -> FleetContext:
        """The context of the fleet."""

    @property
    def store(self) -> AsyncStore:
        """The connection."""

    def counted(self, operation: str, by: int) -> None:
        """Count jobs of an operation."""

    async def send(self, sent: Submission) -> Receipt:
        """Send a prepared job."""


class AsyncBuffered:
    """Enqueues jobs, and keeps them in the buffer while the store is unavailable.

    Args:
        client: The client.
        buffer: The buffer; other clients of the process may share it.
    """

    def __init__(self, client: AsyncSender, buffer: JobBuffer) -> None:
        self._client = client
        self.buffer = buffer

    async def submit(self, job: Job) -> Receipt:
        """Put a job into the fleet, or keep it. Raises as `enqueue`."""
        client, buffer, at = self._client, self.buffer, boottime()
        job = client.context.apply_hooks(job)
        if why := needs_redis(client.context, job):
            return await self._directly(job, why)
        await self._drained()
        if len(buffer):
            return await self._keep(prepare_offline(client.context, job, buffer.reason), at, buffer.reason)
        try:
            sent = await drive(client.store, prepare(client.context, job))
        except StoreUnavailable as error:
            return await self._keep(prepare_offline(client.context, job, error), at, error)
        try:
            return await client.send(sent)
        except (DurabilityUncertain, DurabilityUnavailable):
            raise
        except StoreUnavailable as error:
            return await self._keep(sent, at, error)

    async def submit_many(self, jobs: Sequence[Job]) -> list[Receipt]:
        """Put jobs into the fleet, or keep them; the receipt of one that is not kept has the error."""
        await self._drained()
        context, at, reason = self._client.context, boottime(), self.buffer.reason
        chunk = Chunk(context, jobs)
        if not len(self.buffer):
            try:
                receipts = await drive(self._client.store, submit_chunk(chunk))
            except (DurabilityUncertain, DurabilityUnavailable):
                raise
            except StoreUnavailable as error:
                reason = error
            else:
                self._client.counted("enqueued", len(receipts))
                return receipts
        for place, job in chunk.unanswered():
            try:
                sent = prepare_offline(context, job, reason) if isinstance(job, Job) else job
                chunk.receipts[place] = await self._keep(sent, at, reason)
            except JobfleetError as error:
                job_id = job.suffix if isinstance(job, Job) else job.entry.id
                chunk.receipts[place] = Receipt(job_id, created=False, status=JobStatus.BUFFERED, error=error)
        return chunk.receipts

    async def _keep(self, sent: Submission, at: float, reason: StoreUnavailable) -> Receipt:
        """Keep a job. Large arguments go to the payload store first, so that the buffer has only a reference."""
        if len(sent.entry.envelope) > self._client.context.inline_max:
            answer = self.buffer.unkept(sent, reason)
            if answer is not None:
                return answer
            sent = await drive(self._client.store, stored(self._client.context, sent, is_away=True))
        return self.buffer.keep(sent, at, reason)

    async def _directly(self, job: Job, why: str) -> Receipt:
        """Enqueue a job that cannot be kept, after those in the buffer: it may wait for one of them."""
        ends_at = monotonic() + self._client.context.config.patience
        while len(self.buffer):
            if monotonic() >= ends_at:
                raise not_buffered(job, self.buffer.reason, why)
            await sleep(LOOK_EVERY)
        try:
            receipt = await drive(self._client.store, operation_for(self._client.context, job))
        except (DurabilityUncertain, DurabilityUnavailable):
            raise
        except StoreUnavailable as error:
            raise not_buffered(job, error, why) from error
        self._client.counted("enqueued", 1)
        return receipt

    async def _drained(self) -> None:
        """While the store takes the jobs of the buffer, wait: those that come now follow them, and need not be kept."""
        ends_at = monotonic() + self._client.context.config.patience
        while self.buffer.is_draining and monotonic() < ends_at:
            await sleep(LOOK_EVERY)

    def look(self, job_id: str) -> JobResult[Any] | None:
        """Return a job that is in the buffer; None for any other. Raises `JobNotFound` for one that was refused."""
        return self.buffer.look(job_id)

    def look_many(self, ids: Iterable[str]) -> dict[str, JobResult[Any] | JobNotFound]:
        """Return those of some jobs that are in the buffer, or were refused."""
        found: dict[str, JobResult[Any] | JobNotFound] = {}
        for job_id in ids:
            try:
                known = self.buffer.look(job_id)
            except JobNotFound as error:
                found[job_id] = error
            else:
                if known is not None:
                    found[job_id] = known
        return found

    async def left(self, ids: Iterable[str], timeout: float | None = None) -> dict[str, JobNotFound]:
        """Wait until jobs are not in the buffer any more; return the errors of those that were refused.

        Args:
            ids: The jobs.
            timeout: Time limit in seconds, if it is shorter than the client's patience.

        Raises:
            NotBuffered: The store was unavailable for all the time.
        """
        patience = self._client.context.config.patience
        ends_at = monotonic() + (patience if timeout is None else min(patience, timeout))
        wanted = list(ids)
        while still := {job_id: one for job_id, one in self.look_many(wanted).items() if isinstance(one, JobResult)}:
            if monotonic() >= ends_at:
                first = next(iter(still))
                raise NotBuffered(f"{self.buffer.reason} {first} is still in the local buffer.")
            await sleep(LOOK_EVERY)
        return {job_id: one for job_id, one in self.look_many(wanted).items() if isinstance(one, JobNotFound)}
