"""`Client`: the client that blocks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, cast

from jobfleet.client import logs
from jobfleet.client.base import ClientBase, PollSchedule, open_settings
from jobfleet.client.operations import Operations
from jobfleet.client.receipts import Receipts, warn_on_loop
from jobfleet.client.showing import Showing
from jobfleet.client.steering import Steering
from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import JobNotFound, WaitTimeout
from jobfleet.events import Event, read_events
from jobfleet.functions.decorator import Decorator
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.handle._sync.handle import JobHandle
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
from jobfleet.operations.operation import BulkOperation, T
from jobfleet.operations.submit import operation_for
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.connect import target
from jobfleet.store.pubsub import Listener
from jobfleet.store.records import Holder
from jobfleet.store.sync import Store


class Client(Steering, Showing, Operations):
    """A client of a fleet, for programs that block. Connects on first use; safe for threads and after a fork.

    Args:
        url: Where Redis is; default from settings (``JOBFLEET_URL``, jobfleet.toml).
        namespace: What separates fleets that share a Redis.
        registry: The functions this process knows; default the one that ``@job`` fills.
        settings: Any other setting by name; see the reference of settings.

    Raises:
        ConfigError: A setting is wrong.
    """

    _store: Store | None = None

    def __init__(
        self, url: str | None = None, namespace: str | None = None, *, registry: Registry | None = None, **settings: Any
    ) -> None:
        super().__init__(open_settings(url, namespace, settings), registry)

    @classmethod
    def of(cls, config: JobConfig, registry: Registry | None = None) -> Self:
        """A fleet with these very settings; nothing is read from the environment."""
        made = cls.__new__(cls)
        ClientBase.__init__(made, config, registry)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def store(self) -> Store:
        """The connection, made on first use."""
        if self._store is None:
            config = self.context.config
            self.target = target(config.url, warns=True)
            self._store = Store(
                self.target,
                patience=config.patience,
                connect_timeout=config.connect_timeout,
                socket_timeout=config.socket_timeout,
                busy_poll=config.busy_poll,
                recorder=self.recorder,
            )
        return self._store

    def close(self) -> None:
        """Let the connections go, and end the server if ``embedded://`` started one."""
        if self._store is not None:
            self._store.close()
            self._store = None
        if self.target is not None:
            self.target.close()
            self.target = None
        self._archived.close()

    def _do(self, operation: BulkOperation[T]) -> T:
        answers: Any = None
        try:
            while True:
                answers = self.store.run_many(operation.send(answers))
        except StopIteration as end:
            return cast("T", end.value)

    def enqueue(self, job: Job) -> str:
        """Put a job into the fleet; return its id. Enqueueing the same object, or id, again is harmless.

        Raises:
            DuplicateJob: Another job holds its unique key, and it asked to be told so.
            EncodingError: An argument cannot travel.
            FleetFull: Redis has no memory left.
            StoreUnavailable: Redis was away for too long; repeating the call is safe.
        """
        return self.submit(job).id

    def submit(self, job: Job) -> Receipt:
        """Put a job into the fleet; return the whole answer. Raises as `enqueue`."""
        warn_on_loop("enqueue")
        job = self.context.apply_hooks(job)
        sent = quick(self.context, job, monotonic())
        if sent is None:
            answer = self._do(operation_for(self.context, job))
        else:  # nothing has to be looked up first
            new = self.store.run(enqueue(sent.lane, (sent.entry,)))[0]
            answer = (
                self._do(settle_one(sent, new)) if isinstance(new, Holder) else jobs_enqueue.receipt(sent, created=new)
            )
        self.counted("enqueued", 1)
        return answer

    def handle_of(self, job: Job) -> JobHandle[Any]:
        """Put a job into the fleet; return a handle. Raises as `enqueue`."""
        return JobHandle(self, self.submit(job))

    def enqueue_many(self, jobs: Iterable[Job], *, chunk: int = 1000) -> Iterator[Receipt]:
        """Put many jobs into the fleet, in bounded memory; a receipt each, in order.

        The jobs are taken from the iterable while the receipts are iterated. A job that is refused has its
        error in its receipt; the others go on. With ids of your own an interrupted run can be repeated.

        Args:
            jobs: The jobs.
            chunk: How many are answered together. They are sent as they are written down, and Redis works meanwhile.

        Raises:
            StoreUnavailable: Redis was away for too long.
        """
        return Receipts(self, jobs, chunk)

    def poll(self, job_id: str) -> JobResult[Any]:
        """What is known of a job; of one that Redis has let go, what the archive knows, if there is one.

        Raises:
            JobNotFound: Nothing is.
        """
        try:
            return self._do(jobs_poll.poll(self.context, job_id))
        except JobNotFound:
            return self._archived.one(job_id)

    def poll_many(self, ids: Sequence[str]) -> list[JobResult[Any] | None]:
        """What is known of some jobs, in one round trip; None for those unknown, to the archive too."""
        return self._archived.filled(ids, self._do(jobs_poll.poll_many(self.context, ids)))

    def wait(self, job_id: str, timeout: Seconds | None = None) -> JobResult[Any]:
        """Wait for a job's end. Woken by pub/sub, correct without it.

        Raises:
            InvalidJob: `timeout` is no duration.
            JobNotFound: It is not known.
            WaitTimeout: `timeout` seconds went by.
        """
        patience = PollSchedule(self.context.config, timeout)
        result = self.poll(job_id)
        if result.status.is_final:
            return result
        listener = Listener(self._at(), (self.context.keys.lane_of(job_id).job_events(job_id),)).subscribed()
        try:
            while True:
                if patience.should_mark:
                    self._do(jobs_poll.listen(self.context, job_id))
                result = self.poll(job_id)
                if result.status.is_final:
                    return result
                if patience.should_warn:
                    self._warn_unserved(result)
                if patience.is_over:
                    raise WaitTimeout(job_id, patience.timeout or 0.0)
                listener.get(patience.next())
        finally:
            listener.close()

    def _warn_unserved(self, result: JobResult[Any]) -> None:
        if not any(result.queue in worker.queues for worker in self.workers() if not worker.is_gone):
            warnings.warn(f"No live worker serves the queue {result.queue!r}; start one.", UserWarning, stacklevel=3)

    def _at(self) -> Any:
        return self.store.at

    def events(self, job_id: str) -> Iterator[Event]:
        """What happens to a job from now on, until it ends. Events may be missed; `poll` tells the truth."""
        lane = self.context.keys.lane_of(job_id)
        listener = Listener(self._at(), (lane.job_events(job_id),)).subscribed()
        patience = PollSchedule(self.context.config, None)
        try:
            is_over = False
            while not is_over:
                if patience.should_mark:
                    self._do(jobs_poll.listen(self.context, job_id))
                is_over = self.poll(job_id).status.is_final
                message = listener.get(0.0 if is_over else 1.0)
                while message is not None:
                    yield from read_events(message)
                    message = listener.get(0.0)
        finally:
            listener.close()

    def logs(self, job_id: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """What a job has logged, oldest first; a line says where lines were let go.

        Args:
            job_id: The job.
            tail: How many of the last lines at most; None for all that are kept.
            follow: Go on with what it logs from now on, until it ends.

        Raises:
            JobNotFound: Neither the job nor a log of it is known.
        """
        return logs.reading(self, Reading(job_id, tail), follow=follow)

    def cancel(self, job_id: str, *, by: str | None = None) -> bool:
        """End a waiting job, or ask a running one to stop; False when it has ended already.

        Raises:
            JobNotFound: It is not known.
        """
        return self._do(jobs_cancel.cancel(self.context, job_id, by))

    def replay(
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
        return self._do(jobs_replay.replay(self.context, job_id, by, wanted=wanted, fresh=fresh))

    def purge(self, job_id: str) -> bool:
        """Let a dead letter go for good; False when there was none."""
        return self._do(jobs_replay.purge(self.context, job_id))

    def job(self, function: Any = None, /, **options: Any) -> JobFunction[..., Any, Any] | Decorator:
        """Make a function a job of this fleet; see `jobfleet.job`."""
        if function is not None:
            return self.context.registry.register(function, fleet=self, **options)
        return lambda target: self.context.registry.register(target, fleet=self, **options)  # type: ignore[return-value]
