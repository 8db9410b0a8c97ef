"""The base of a client that awaits: its connection, how it runs an operation, and how it enqueues one job.

Concurrent enqueues share round trips by themselves. Written by hand, as its twin is: here they differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from jobfleet.client._async.listener import AsyncSharedListener
from jobfleet.client.base import CLOSING, ClientBase, ClientRecorder
from jobfleet.clock import monotonic, seconds
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError, warn
from jobfleet.functions.registry import Registry
from jobfleet.model import Job, JobResult, Receipt
from jobfleet.model.option_types import Seconds
from jobfleet.operations.durability import note, uncertain
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs import enqueue as jobs_enqueue
from jobfleet.operations.jobs.enqueue import settle_one
from jobfleet.operations.jobs.prepare import Submission, asks_for_callbacks, quick, receipt
from jobfleet.operations.operation import BulkOperation, T, drive
from jobfleet.operations.submit import enqueue_span, operation_for
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call, Confirming
from jobfleet.store.calls.enqueue import CHUNK, enqueue, parted
from jobfleet.store.connect import default_is_open
from jobfleet.store.keys import Lane
from jobfleet.store.records import Answer, Entry, Holder
from jobfleet.store.target import Target

if TYPE_CHECKING:
    from jobfleet.client._async.buffered import AsyncBuffered
    from jobfleet.client._sync.connection import Connection
    from jobfleet.client.buffer import JobBuffer
    from jobfleet.client.discovery import AsyncFindingLink
    from jobfleet.model.audit import AuditFilter, Position
    from jobfleet.model.result import JobDetails
    from jobfleet.operations.history import Window
    from jobfleet.store.calls.journal import AuditRecord


class AsyncConnection(ClientBase):
    """A connection to a fleet, for programs that await; on one event loop."""

    is_blocking: Literal[False] = False
    buffering: AsyncBuffered | None = None
    _store: AsyncStore | None = None

    def _set_up(
        self,
        config: JobConfig,
        registry: Registry | None,
        *,
        target: Target | None = None,
        recorder: ClientRecorder | None = None,
        buffer: JobBuffer | None = None,
    ) -> None:
        super()._set_up(config, registry, target=target, recorder=recorder, buffer=buffer)
        if self.buffer is not None:
            from jobfleet.client._async.buffered import AsyncBuffered

            self.buffering = AsyncBuffered(self, self.buffer)
        self._gatherers: dict[Lane, EnqueueBatcher] = {}
        self._durable: dict[tuple[Lane, str], DurableBatcher] = {}
        self._listener: AsyncSharedListener | None = None

    @classmethod
    def sharing(cls, other: Connection) -> Self:
        """A client with another client's settings, functions, server and local buffer."""
        made = cls.__new__(cls)
        config, registry = other.context.config, other.context.registry
        cls._set_up(made, config, registry, target=other.store.at, recorder=other.recorder, buffer=other.buffer)
        made.up_folder = other.up_folder
        return made

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def store(self) -> AsyncStore:
        """The connection, made on first use."""
        if self._store is None:
            config = self.context.config
            store = AsyncStore(
                self._open_target(),
                patience=config.patience,
                connect_timeout=config.connect_timeout,
                socket_timeout=config.socket_timeout,
                busy_poll=config.busy_poll,
                max_connections=config.max_connections,
                recorder=self.recorder,
            )
            if self.up_folder is not None:
                store.link = self._finding(store)
            self._store = store
        return self._store

    def _finding(self, store: AsyncStore) -> AsyncFindingLink:
        """A link that looks for a `jobfleet up` when no server answers."""
        from jobfleet.client.discovery import AsyncFindingLink  # a program whose settings name the URL does not need it

        config = self.context.config
        return AsyncFindingLink(
            store,
            self._found,
            self._reached,
            connect_timeout=config.connect_timeout,
            socket_timeout=config.socket_timeout,
            busy_poll=config.busy_poll,
            max_connections=config.max_connections,
        )

    @property
    def listener(self) -> AsyncSharedListener:
        """What listens for all waits of this client, over one connection; made on first use."""
        if self._listener is None or self._listener.is_foreign:
            self._listener = AsyncSharedListener(self.context, self._do, lambda: self.store.at)
        return self._listener

    async def aclose(self, timeout: Seconds = CLOSING) -> None:
        """Send the gathered jobs, close the connections, and end the server if ``embedded://`` started one.

        Args:
            timeout: How long it tries to flush the local buffer, in seconds or as a timedelta. Jobs that are left are
                lost, and logged.

        Raises:
            InvalidJob: `timeout` is not a duration.
        """
        limit = seconds(timeout, field="timeout")
        if self._listener is not None:
            await self._listener.aclose()
            self._listener = None
        for batcher in (*self._gatherers.values(), *self._durable.values()):
            await batcher.drained()
        self._gatherers.clear()
        self._durable.clear()
        if self.buffer is not None and self._owns_buffer and self.buffered:
            await asyncio.to_thread(self.buffer.close, limit)
        if self._store is not None:
            await self._store.close()
            self._store = None
        self._close_target()

    async def _do(self, operation: BulkOperation[T]) -> T:
        return await drive(self.store, operation)

    async def submit(self, job: Job) -> Receipt:
        """Put a job into the fleet; return the whole answer. Raises as `enqueue`."""
        if self.context.registry.hooks.tracer is None:
            return await self._submit(job)
        with enqueue_span(self.context, (job,)) as span:
            answer = await self._submit(job)
            span.answered((answer,))
            return answer

    async def _submit(self, job: Job) -> Receipt:
        if self.buffering is not None:
            return await self.buffering.submit(job)
        job = self.context.apply_hooks(job)
        sent = quick(self.context, job, monotonic())
        if sent is None:
            if job.cron_expression is not None or job.depends_on is not None or asks_for_callbacks(self.context, job):
                answer = await self._do(operation_for(self.context, job))
                self.counted("enqueued", 1)
                return answer
            sent = await self._do(jobs_enqueue.prepare(self.context, job))
        elif len(sent.entry.envelope) > self.context.inline_max:
            sent = await self._do(jobs_enqueue.stored(self.context, sent))
        if sent.level:
            answer = await self._submit_durably(sent)
            self.counted("enqueued", 1)
            return answer
        batcher = self._gatherers.get(sent.lane) or self._batcher_of(sent.lane)
        new = await batcher.enqueue(sent.entry)
        answer = await self._do(settle_one(sent, new)) if isinstance(new, Holder) else receipt(sent, created=new)
        if self.recorder is not None:
            self.recorder.counted("enqueued", 1)
        return answer

    def _batcher_of(self, lane: Lane) -> EnqueueBatcher:
        return self._gatherers.setdefault(lane, EnqueueBatcher(lane, self.store))

    async def send(self, sent: Submission) -> Receipt:
        """Send a prepared job; return the whole answer. Raises as `enqueue`."""
        if sent.level:
            answer = await self._submit_durably(sent)
            self.counted("enqueued", 1)
            return answer
        new = await self._batcher_of(sent.lane).enqueue(sent.entry)
        answer = await self._do(settle_one(sent, new)) if isinstance(new, Holder) else receipt(sent, created=new)
        self.counted("enqueued", 1)
        return answer

    async def _default_is_open(self) -> bool | None:
        return await asyncio.to_thread(default_is_open, self.store.at)

    async def _submit_durably(self, sent: Submission) -> Receipt:
        """Send a job in a batch of its level, so that no other job waits for the confirmation."""
        place = (sent.lane, sent.level)
        batcher = self._durable.get(place)
        if batcher is None:
            batcher = self._durable[place] = DurableBatcher(sent.lane, self.store, self.context, sent.level)
        new = await batcher.enqueue(sent.entry)
        if isinstance(new, Holder):
            return await self._do(jobs_enqueue.settle_durably(self.context, sent, new))
        return receipt(sent, created=new)

    async def _audit_in_archive(self, chosen: AuditFilter, below: Position | None, limit: int) -> list[AuditRecord]:
        return await asyncio.to_thread(self._archived.audit, chosen, below, limit)

    async def from_archive(self, job_id: str) -> JobResult[Any]:
        """Return the result of a job that Redis does not know any more. Raises `JobNotFound`."""
        return await asyncio.to_thread(self._archived.one, job_id)

    async def envelope_from_archive(self, job_id: str) -> bytes:
        """Return the envelope of a job, with its arguments; empty if the archive does not have it."""
        return await asyncio.to_thread(self._archived.envelope, job_id)

    async def _with_life(self, details: JobDetails[Any], *, is_archived: bool = False) -> JobDetails[Any]:
        """Add the lines of a job's life that Redis does not have, if the archive has them."""
        from jobfleet.operations.jobs.details import completed, lacks_lines

        if self.config.archive_url is None or not (is_archived or lacks_lines(details)):
            return details
        return completed(details, await asyncio.to_thread(self._archived.life, details.job.id))

    async def _look_in_archive(self, job_id: str) -> JobResult[Any] | None:
        return await asyncio.to_thread(self._archived.look, job_id) if self.config.archive_url else None

    async def _forget_in_archive(self, job_id: str) -> bool:
        return await asyncio.to_thread(self._archived.forget, job_id) if self.config.archive_url else False

    async def _searched_in_archive(self, asked: Mapping[str, Any]) -> list[JobResult[Any]]:
        return await asyncio.to_thread(self._archived.search, asked)

    async def _hours_from_archive(self, asked: Window) -> dict[int, dict[int, Any]]:
        return await asyncio.to_thread(self._archived.hours, asked) if asked.needs_archive else {}

    async def _filled_from_archive(
        self, ids: Sequence[str], found: list[JobResult[Any] | None]
    ) -> list[JobResult[Any] | None]:
        return await asyncio.to_thread(self._archived.filled, ids, found) if None in found else found


class AsyncReceiptsBase(AsyncIterator[Receipt]):
    """What receipts of `enqueue_many` can do besides being iterated: they can be awaited."""

    _touched = True  # until it is whole: what could not be made warns of nothing

    def __await__(self) -> Generator[Any, None, list[Receipt]]:
        self._touched = True
        return self._all().__await__()

    async def _all(self) -> list[Receipt]:
        return [receipt async for receipt in self]

    def _touch(self) -> None:
        self._touched = True

    def __del__(self) -> None:
        if not self._touched:
            warn("enqueue_many was not awaited: nothing was enqueued.", RuntimeWarning)


AsyncReceiptIterator = AsyncReceiptsBase
"""What `enqueue_many` returns."""


# Share round trips between enqueues: jobs that come during a round trip are sent together in the next one.
#
# A job that comes while no round trip of its lane is in flight is sent at once, in the caller's own task. This is
# group commit (D. DeWitt et al., SIGMOD 1984) on the producer's side.


MOST_CHUNKS = 20
Part = Sequence[tuple[Entry, asyncio.Future[Answer]]]


class EnqueueBatcher:
    """Enqueues jobs into one lane.

    Args:
        lane: The lane.
        store: The store that sends the calls.
    """

    def __init__(self, lane: Lane, store: AsyncStore) -> None:
        self._lane = lane
        self._store = store
        self._waiting: list[tuple[Entry, asyncio.Future[Answer]]] = []
        self._is_flying = False
        self._task: asyncio.Task[None] | None = None

    async def enqueue(self, entry: Entry) -> Answer:
        """Enqueue one job; return whether it is new, or the job that holds its unique key.

        Raises:
            FleetFull: Redis has no memory left.
            StoreUnavailable: Redis did not answer within `patience` seconds.
        """
        if self._is_flying:
            future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._waiting.append((entry, future))
            return await future
        self._is_flying = True
        try:
            answers = await self._run(entry)
        finally:
            self._landed()
        return answers[0]

    async def _run(self, entry: Entry) -> list[Answer]:
        return await self._store.run(enqueue(self._lane, (entry,)))

    async def _run_many(self, parts: Sequence[Part]) -> list[list[Answer] | JobfleetError]:
        return await self._store.run_many([_call(self._lane, part) for part in parts])

    def _landed(self) -> None:
        self._waiting = [(entry, future) for entry, future in self._waiting if not future.done()]
        if self._waiting:
            self._task = asyncio.get_running_loop().create_task(self._send_waiting())
            self._task.add_done_callback(self._broke_off)
        else:
            self._is_flying = False

    def _broke_off(self, task: asyncio.Task[None]) -> None:
        """Start another sender if the last one was cancelled or failed; otherwise every later enqueue would wait."""
        if task.cancelled() or task.exception() is not None:
            self._landed()

    async def _send_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: CHUNK * MOST_CHUNKS], self._waiting[CHUNK * MOST_CHUNKS :]
            parts = list(parted(batch, lambda one: one[0]))
            try:
                answers = await self._run_many(parts)
            except Exception as error:  # noqa: BLE001 - each caller receives it, whatever it is
                _fail(batch, error)
                continue
            except BaseException:  # the loop ends, and no caller may wait for ever
                _fail(batch, asyncio.CancelledError())
                raise
            for part, answer in zip(parts, answers, strict=True):
                _deliver(part, answer)
        self._is_flying = False  # without an await since the last check of `_waiting`

    async def drained(self) -> None:
        """Wait until the jobs that were gathered are sent and answered."""
        if self._task is not None:
            await asyncio.wait((self._task,))


class DurableBatcher(EnqueueBatcher):
    """Enqueues jobs of one durability into one lane; the jobs of a round trip share its confirmation.

    Args:
        lane: The lane.
        store: The store that sends the calls.
        context: The context of the fleet.
        level: The durability.
    """

    def __init__(self, lane: Lane, store: AsyncStore, context: FleetContext, level: str) -> None:
        super().__init__(lane, store)
        self._context = context
        self._level = level

    async def _run(self, entry: Entry) -> list[Answer]:
        answers, is_reached = await self._confirmed([enqueue(self._lane, (entry,))])
        if isinstance(answers[0], JobfleetError):
            raise answers[0]
        if not is_reached:
            raise uncertain(self._context, self._level, entry.id)
        return answers[0]

    async def _run_many(self, parts: Sequence[Part]) -> list[list[Answer] | JobfleetError]:
        answers, is_reached = await self._confirmed([_call(self._lane, part) for part in parts])
        if not is_reached:
            for part, answer in zip(parts, answers, strict=True):
                if not isinstance(answer, JobfleetError):
                    _fail_each(part, lambda entry: uncertain(self._context, self._level, entry.id))
        return answers

    async def _confirmed(self, calls: Sequence[Call[list[Answer]]]) -> tuple[list[list[Answer] | JobfleetError], bool]:
        batch = Confirming(calls, self._context.barrier(self._lane, (self._level,)))
        answers = await self._store.run_many(batch)
        note(self._context, (self._level,), is_reached=batch.is_reached, took=batch.took)
        return answers, batch.is_reached


def _call(lane: Lane, part: Part) -> Call[list[Answer]]:
    return enqueue(lane, [entry for entry, _ in part])


def _fail_each(batch: Part, error_of: Callable[[Entry], BaseException]) -> None:
    for entry, future in batch:
        if not future.done():
            future.set_exception(error_of(entry))


def _fail(batch: list[tuple[Entry, asyncio.Future[Answer]]], error: BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)


def _deliver(part: Part, answer: list[Answer] | JobfleetError) -> None:
    for number, (_, future) in enumerate(part):
        if future.done():
            continue
        if isinstance(answer, JobfleetError):
            future.set_exception(answer)
        else:
            future.set_result(answer[number])
