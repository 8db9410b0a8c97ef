# Made by scripts/unasync from jobfleet/client/_async/jobs.py. Change that, and run scripts/unasync.
"""Jobs: enqueue, poll, cancel, edit, replay, forget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from jobfleet.client._sync.audit import Audit, audited
from jobfleet.client._sync.connection import Connection, ReceiptIterator, ReceiptsBase
from jobfleet.client.base import check_many
from jobfleet.errors import JobNotFound
from jobfleet.model import Job, JobId, JobResult, Receipt
from jobfleet.operations.jobs import poll
from jobfleet.operations.operation import batches, drive_blocking
from jobfleet.operations.submit import enqueue_span, submit_many

if TYPE_CHECKING:
    from jobfleet.model.result import JobDetails


T = TypeVar("T")


class Jobs(Audit):
    """Operations of a client on single jobs."""

    def enqueue(self, job: Job[T]) -> JobId[T]:
        """Enqueue a job and return its id. Enqueueing the same object, or the same id, again changes nothing.

        Args:
            job: The job.

        Raises:
            DuplicateJob: Another job holds its unique key, and the job has ``on_conflict="raise"``.
            EncodingError: An argument cannot be encoded.
            FleetFull: Redis has no memory left.
            StoreUnavailable: Redis did not answer within `patience` seconds. Repeating the call is safe.
            BufferFull: Redis did not answer, and the local buffer, if this client has one, is full.
        """
        receipt = self.submit(job)
        return receipt.id  # type: ignore[return-value]  # a plain str, of which only type checkers know the result

    def submit_by_name(self, job: Job, request: str) -> Receipt:
        """Enqueue a job for a program that has only the name of its function; `job.function` is that name.

        A worker must have published the function, the arguments must fit its published parameters, and the queue must
        exist. If the job has an id, it is enqueued once per request.

        Args:
            job: The job.
            request: A hash of the request, by which a repetition is known.

        Raises:
            IdConflict: Another request has enqueued a job with this id.
            InvalidJob: No worker has published the function, or it does not accept the arguments; or an option is
                wrong.
            UnknownQueue: There is no such queue.
        """
        from jobfleet.operations import by_name

        with enqueue_span(self.context, (job,)) as span:
            receipt = self._do(by_name.submit(self.context, self.context.apply_hooks(job), request))
            span.answered((receipt,))
        self.counted("enqueued", int(receipt.created))
        return receipt

    def enqueue_many(self, jobs: Iterable[Job], *, chunk: int = 1000) -> ReceiptIterator:
        """Enqueue many jobs in bounded memory. The result yields one receipt per job, in order.

        The jobs are taken from the iterable while you iterate the receipts. The receipts of an awaited client can also
        be awaited, which gives a list. If a job is rejected, its receipt has the error, and the other jobs continue.
        Give jobs ids of your own to be able to repeat an interrupted run.

        Args:
            jobs: The jobs.
            chunk: How many jobs are confirmed together. Each is sent as soon as it is encoded.

        Raises:
            InvalidJob: `jobs` is not iterable, or `chunk` is not a whole number.
            StoreUnavailable: Redis did not answer within `patience` seconds.
        """
        return Receipts(self, jobs, chunk)

    @overload
    def poll(self, job_id: JobId[T]) -> JobResult[T]: ...
    @overload
    def poll(self, job_id: str) -> JobResult[Any]: ...
    def poll(self, job_id: str) -> JobResult[Any]:
        """Read the state and the result of a job, from Redis or else from the archive, if there is one.

        Raises:
            JobNotFound: Neither knows the job.
        """
        if self.buffering is not None and (kept := self.buffering.look(job_id)) is not None:
            return kept
        try:
            return self._do(poll.poll(self.context, job_id))
        except JobNotFound:
            return self.from_archive(job_id)

    def poll_many(self, ids: Sequence[str]) -> list[JobResult[Any] | None]:
        """Read several jobs in one round trip, in the order of `ids`. An unknown job gives None.

        Raises:
            InvalidJob: `ids` is not a list of texts.
            StoreUnavailable: Redis did not answer within `patience` seconds, or the archive did not answer.
        """
        kept = self.buffering.look_many(ids) if self.buffering is not None else {}
        if kept and all(job_id in kept for job_id in ids):
            found: list[JobResult[Any] | None] = [None] * len(ids)
        else:
            found = self._filled_from_archive(ids, self._do(poll.poll_many(self.context, ids)))
        for place, job_id in enumerate(ids) if kept else ():
            one = kept.get(job_id)
            found[place] = one if isinstance(one, JobResult) else found[place]
        return found

    def details(self, job_id: str) -> JobDetails[Any]:
        """Read a job in full: its state, priority, arguments, options, parents, past runs, and what was done to it.

        `poll` costs less. Of a job that has ended, Redis keeps no arguments, unless it is a dead letter. An archive
        adds, if there is one and it answers, what Redis does not have of the job's past.

        Raises:
            JobNotFound: Neither Redis nor the archive knows the job.
        """
        from jobfleet.model.result import JobDetails
        from jobfleet.operations.jobs import details

        try:
            return self._with_life(self._do(details.details(self.context, job_id)))
        except JobNotFound:
            return self._with_life(JobDetails(job=self.from_archive(job_id)), is_archived=True)

    def cancel(self, job_id: str, *, by: str | None = None) -> bool:
        """Cancel a waiting job, or ask a running one to stop. Return False if it has already ended.

        Args:
            job_id: The job.
            by: The person or program that cancels, for the record.

        Raises:
            JobNotFound: The job is unknown.
            StoreUnavailable: Redis did not answer within `patience` seconds, also for a job in the local buffer.
        """
        if self.buffering is not None:
            self.buffering.left((job_id,))
        from jobfleet.operations.jobs import cancel

        return self._act(cancel.cancel, by, job_id, by)

    @overload
    def move(self, job_id: JobId[T], queue: str, *, by: str | None = None) -> JobId[T]: ...
    @overload
    def move(self, job_id: str, queue: str, *, by: str | None = None) -> str: ...
    def move(self, job_id: str, queue: str, *, by: str | None = None) -> str:
        """Move a waiting job to another queue, as a new job, and return the new id. Repeating the call is safe.

        The new job has the same call, due time, priority and expiry. It has its own retry budget, log and
        steps; signals that the old job was sent go with it. The old job ends as cancelled, with `moved_to`. If this
        process dies half-way, both jobs exist; the same call finishes the move.

        Raises:
            JobNotFound: The job is unknown.
            InvalidJob: It runs, has ended, is already in that queue, or has stored steps, which it would lose; or it
                waits for other jobs.
            DuplicateJob: A job of that queue holds its unique key.
            FleetFull: Redis has no memory left.
        """
        from jobfleet.operations.jobs import steer

        return self._act(steer.move, by, job_id, queue, by)

    def signal_by_token(self, token: str, value: object = None, *, by: str | None = None) -> bool:
        """Send the signal of a token that a job has made with `ctx.token`. A repetition is harmless.

        Args:
            token: The token.
            value: What `ctx.wait_for` returns.
            by: The person or program that sends it, for the record.

        Returns:
            False if the job has ended, or another signal of this name came first.

        Raises:
            JobNotFound: No job has made this token, or the job is not known any more.
            InvalidJob: The job keeps too much already.
            EncodingError: The value cannot be encoded.
        """
        from jobfleet.operations.jobs import signal

        job_id, name = self._do(signal.signal_of_token(self.context, token))
        work = signal.signal_by_token(self.context, token, value, by)
        return self._audited(signal.signal.action(self.context, job_id, name), work, by)

    def forget(self, job_id: str, *, by: str | None = None) -> bool:
        """Erase an ended job in Redis and, if this client has one, in the archive. Repeating the call is safe.

        Its result, call, log, progress, steps, dead letter, remembered id and entries in indexes are deleted. The
        journal gets one event with the id, the time and the author, by which a reaper erases it in its archive, too.

        Returns:
            False if nothing was known about it.

        Args:
            job_id: The job.
            by: The person or program that erases it, for the record.

        Raises:
            JobNotFound: `job_id` is not a job id.
            InvalidJob: The job has not ended, so cancel it first; or other jobs wait for it.
            StoreUnavailable: Redis or the archive did not answer. The message says what is left to do.
        """
        from jobfleet.operations.jobs import cancel

        action = cancel.forget.action(self.context, job_id)
        return audited(self.context, self._do, action, lambda: self._forgotten(job_id, by), by=by)

    def _forgotten(self, job_id: str, by: str | None) -> bool:
        from jobfleet.operations.jobs import cancel

        archived = self._look_in_archive(job_id)
        was_known = self._do(cancel.forget(self.context, job_id, by, archived))
        return self._forget_in_archive(job_id) or was_known


class Receipts(ReceiptsBase):
    """The receipts of `enqueue_many`; iterating them is what enqueues.

    Args:
        client: The client.
        jobs: The jobs.
        chunk: How many jobs are confirmed together.

    Raises:
        InvalidJob: `jobs` is not iterable, or `chunk` is not a whole number.
    """

    def __init__(self, client: Connection, jobs: Iterable[Job], chunk: int) -> None:
        check_many(jobs, chunk)
        self._client = client
        self._parts = batches(jobs, max(1, chunk))
        self._ready: Iterator[Receipt] = iter(())
        self._touched = False

    def __next__(self) -> Receipt:
        self._touch()
        while True:
            for receipt in self._ready:
                return receipt
            part = next(self._parts, None)
            if part is None:
                raise StopIteration
            with enqueue_span(self._client.context, part) as span:
                if self._client.buffering is not None:
                    receipts = self._client.buffering.submit_many(part)
                else:
                    receipts = drive_blocking(self._client.store, submit_many(self._client.context, part))
                    self._client.counted("enqueued", len(receipts))
                span.answered(receipts)
            self._ready = iter(receipts)
