"""`AsyncClient`: the client that awaits. Concurrent enqueues share round trips by themselves."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Self

from jobfleet.client import logs
from jobfleet.client.base import ClientBase, PollSchedule, open_settings
from jobfleet.client.enqueue_batcher import EnqueueBatcher
from jobfleet.client.operations import AsyncOperations
from jobfleet.client.receipts import AsyncReceipts
from jobfleet.client.showing import AsyncShowing
from jobfleet.client.steering import AsyncSteering
from jobfleet.clock import monotonic
from jobfleet.errors import JobNotFound, WaitTimeout
from jobfleet.events import Event, read_events
from jobfleet.functions.decorator import Decorator
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.handle._async.handle import AsyncJobHandle
from jobfleet.model import Job, JobResult, Receipt
from jobfleet.model.logline import LogLine
from jobfleet.model.options import Seconds
from jobfleet.operations.jobs import cancel as jobs_cancel
from jobfleet.operations.jobs import enqueue as jobs_enqueue
from jobfleet.operations.jobs import poll as jobs_poll
from jobfleet.operations.jobs import replay as jobs_replay
from jobfleet.operations.jobs.conflicts import settle_one
from jobfleet.operations.jobs.logs import Reading
from jobfleet.operations.jobs.prepare import quick
from jobfleet.operations.operation import BulkOperation, T, drive
from jobfleet.operations.submit import operation_for
from jobfleet.store.aio import AsyncStore
from jobfleet.store.connect import target
from jobfleet.store.keys import Lane
from jobfleet.store.pubsub import AsyncListener
from jobfleet.store.records import Holder


class AsyncClient(AsyncSteering, AsyncShowing, AsyncOperations):
    """A client of a fleet, for programs that await; on one event loop. Connects on first use.

    Args:
        url: Where Redis is; default from settings (``JOBFLEET_URL``, jobfleet.toml).
        namespace: What separates fleets that share a Redis.
        registry: The functions this process knows; default the one that ``@job`` fills.
        settings: Any other setting by name; see the reference of settings.

    Raises:
        ConfigError: A setting is wrong.
    """

    _store: AsyncStore | None = None
    _owns_target = True

    def __init__(
        self, url: str | None = None, namespace: str | None = None, *, registry: Registry | None = None, **settings: Any
    ) -> None:
        super().__init__(open_settings(url, namespace, settings), registry)
        self._gatherers: dict[Lane, EnqueueBatcher] = {}

    @classmethod
    def sharing(cls, other: Any) -> Self:
        """A client with another client's settings, functions and server."""
        made = cls.__new__(cls)
        ClientBase.__init__(made, other.context.config, other.context.registry)
        made._gatherers = {}  # noqa: SLF001 - its own class
        made.target = other.store.at
        made.recorder = other.recorder
        made._owns_target = False  # noqa: SLF001 - its own class
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
            if self.target is None:
                self.target = target(config.url, warns=True)
            self._store = AsyncStore(
                self.target,
                patience=config.patience,
                connect_timeout=config.connect_timeout,
                socket_timeout=config.socket_timeout,
                busy_poll=config.busy_poll,
                recorder=self.recorder,
            )
        return self._store

    async def aclose(self) -> None:
        """Send what has gathered, let the connections go, and end the server if ``embedded://`` started one."""
        for batcher in self._gatherers.values():
            await batcher.drained()
        self._gatherers.clear()
        if self._store is not None:
            await self._store.close()
            self._store = None
        if self.target is not None and self._owns_target:
            self.target.close()
            self.target = None
        self._archived.close()

    async def _do(self, operation: BulkOperation[T]) -> T:
        return await drive(self.store, operation)

    async def enqueue(self, job: Job) -> str:
        """Put a job into the fleet; return its id. Enqueueing the same object, or id, again is harmless.

        Raises:
            DuplicateJob: Another job holds its unique key, and it asked to be told so.
            EncodingError: An argument cannot travel.
            FleetFull: Redis has no memory left.
            StoreUnavailable: Redis was away for too long; repeating the call is safe.
        """
        return (await self.submit(job)).id

    async def submit(self, job: Job) -> Receipt:
        """Put a job into the fleet; return the whole answer. Raises as `enqueue`."""
        job = self.context.apply_hooks(job)
        sent = quick(self.context, job, monotonic())
        if sent is None:
            if job.cron_expression is not None or job.depends_on is not None:
                answer = await self._do(operation_for(self.context, job))
                self.counted("enqueued", 1)
                return answer
            sent = await self._do(jobs_enqueue.prepare(self.context, job))
        batcher = self._gatherers.get(sent.lane)
        if batcher is None:
            batcher = self._gatherers[sent.lane] = EnqueueBatcher(sent.lane, self.store)
        new = await batcher.enqueue(sent.entry)
        answer = (
            await self._do(settle_one(sent, new))
            if isinstance(new, Holder)
            else jobs_enqueue.receipt(sent, created=new)
        )
        self.counted("enqueued", 1)
        return answer

    async def handle_of(self, job: Job) -> AsyncJobHandle[Any]:
        """Put a job into the fleet; return a handle. Raises as `enqueue`."""
        return AsyncJobHandle(self, await self.submit(job))

    def enqueue_many(self, jobs: Iterable[Job], *, chunk: int = 1000) -> AsyncReceipts:
        """Put many jobs into the fleet, in bounded memory; a receipt each, in order.

        Await it for a list of receipts, or iterate it with ``async for``. A job that is refused has its
        error in its receipt; the others go on. With ids of your own an interrupted run can be repeated.

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
            return await asyncio.to_thread(self._archived.one, job_id)

    async def poll_many(self, ids: Sequence[str]) -> list[JobResult[Any] | None]:
        """What is known of some jobs, in one round trip; None for those unknown, to the archive too."""
        found = await self._do(jobs_poll.poll_many(self.context, ids))
        return await asyncio.to_thread(self._archived.filled, ids, found) if None in found else found

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
        listener = AsyncListener(self._at(), (self.context.keys.lane_of(job_id).job_events(job_id),))
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
        if not any(result.queue in worker.queues for worker in await self.workers() if not worker.is_gone):
            warnings.warn(f"No live worker serves the queue {result.queue!r}; start one.", UserWarning, stacklevel=3)

    def _at(self) -> Any:
        return self.store.at

    async def events(self, job_id: str) -> AsyncIterator[Event]:
        """What happens to a job from now on, until it ends. Events may be missed; `poll` tells the truth."""
        lane = self.context.keys.lane_of(job_id)
        listener = AsyncListener(self._at(), (lane.job_events(job_id),))
        patience = PollSchedule(self.context.config, None)
        try:
            await listener.subscribed()
            is_over = False
            while not is_over:
                if patience.should_mark:
                    await self._do(jobs_poll.listen(self.context, job_id))
                is_over = (await self.poll(job_id)).status.is_final
                message = await listener.get(0.0 if is_over else 1.0)
                while message is not None:
                    for event in read_events(message):
                        yield event
                    message = await listener.get(0.0)
        finally:
            await listener.close()

    async def logs(self, job_id: str, *, tail: int | None = None, follow: bool = False) -> AsyncIterator[LogLine]:
        """What a job has logged, oldest first; a line says where lines were let go.

        Args:
            job_id: The job.
            tail: How many of the last lines at most; None for all that are kept.
            follow: Go on with what it logs from now on, until it ends.

        Raises:
            JobNotFound: Neither the job nor a log of it is known.
        """
        async for line in logs.areading(self, Reading(job_id, tail), follow=follow):
            yield line

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
        """Make a function a job of this fleet; see `jobfleet.job`. Its ``aenqueue`` uses this client."""
        if function is not None:
            return self.context.registry.register(function, fleet=self, **options)
        return lambda target: self.context.registry.register(target, fleet=self, **options)  # type: ignore[return-value]
