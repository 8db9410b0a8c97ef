"""The base of a client that blocks: its connection, how it runs an operation, and how it enqueues one job.

Written by hand, as its twin is: here they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from jobfleet.client._sync.listener import SharedListener
from jobfleet.client.base import CLOSING, ClientBase, ClientRecorder
from jobfleet.clock import monotonic, seconds
from jobfleet.config import JobConfig
from jobfleet.errors import warn
from jobfleet.event_loop import running_loop
from jobfleet.functions.registry import Registry
from jobfleet.model import Job, JobResult, Receipt
from jobfleet.model.option_types import Seconds
from jobfleet.operations.jobs import enqueue as jobs_enqueue
from jobfleet.operations.jobs.enqueue import settle_one
from jobfleet.operations.jobs.prepare import Submission, quick, receipt
from jobfleet.operations.operation import BulkOperation, T, drive_blocking
from jobfleet.operations.submit import enqueue_span, operation_for
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.connect import default_is_open
from jobfleet.store.records import Holder
from jobfleet.store.sync import Store
from jobfleet.store.target import Target

if TYPE_CHECKING:
    from jobfleet.client._sync.buffered import Buffered
    from jobfleet.client.buffer import JobBuffer
    from jobfleet.client.discovery import FindingLink
    from jobfleet.model.audit import AuditFilter, Position
    from jobfleet.model.result import JobDetails
    from jobfleet.operations.history import Window
    from jobfleet.store.calls.journal import AuditRecord

ReceiptIterator = Iterator[Receipt]
"""What `enqueue_many` returns."""

INSTEAD = {"enqueue": "await aenqueue or use AsyncFleet", "enqueue_many": "use AsyncFleet"}


class Connection(ClientBase):
    """A connection to a fleet, for programs that block; safe for threads and after a fork."""

    is_blocking: Literal[True] = True
    buffering: Buffered | None = None
    _store: Store | None = None
    _listener: SharedListener | None = None

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
            from jobfleet.client._sync.buffered import Buffered

            self.buffering = Buffered(self, self.buffer)

    @classmethod
    def of(cls, config: JobConfig, registry: Registry | None = None, *, target: Target | None = None) -> Self:
        """A fleet with these very settings; nothing is read from the environment.

        Args:
            config: The settings.
            registry: The functions; default those of this process.
            target: The server of another client, which closes it; default the server of the settings.
        """
        made = cls.__new__(cls)
        cls._set_up(made, config, registry, target=target)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def store(self) -> Store:
        """The connection, made on first use."""
        return self._store or self._opened()

    def _opened(self) -> Store:
        with self._opening:  # else two threads would make two, and one of them would never be closed
            if self._store is None:
                config = self.context.config
                store = Store(
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

    def _finding(self, store: Store) -> FindingLink:
        """A link that looks for a `jobfleet up` when no server answers."""
        from jobfleet.client.discovery import FindingLink  # a program whose settings name the URL does not need it

        config = self.context.config
        return FindingLink(
            store,
            self._found,
            self._reached,
            connect_timeout=config.connect_timeout,
            socket_timeout=config.socket_timeout,
            busy_poll=config.busy_poll,
            max_connections=config.max_connections,
        )

    @property
    def listener(self) -> SharedListener:
        """What listens for all waits of this client, over one connection; made on first use."""
        made = self._listener
        if made is None or made.is_foreign:
            with self._opening:
                made = self._listener
                if made is None or made.is_foreign:
                    made = self._listener = SharedListener(self.context, self._do, lambda: self.store.at)
        return made

    def close(self, timeout: Seconds = CLOSING) -> None:
        """Close the connections, and end the server if ``embedded://`` started one.

        Args:
            timeout: How long it tries to flush the local buffer, in seconds or as a timedelta. Jobs that are left are
                lost, and logged.

        Raises:
            InvalidJob: `timeout` is not a duration.
        """
        limit = seconds(timeout, field="timeout")
        if self.buffer is not None and self._owns_buffer:
            self.buffer.close(limit)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._store is not None:
            self._store.close()
            self._store = None
        self._close_target()

    def _do(self, operation: BulkOperation[T]) -> T:
        return drive_blocking(self.store, operation)

    def submit(self, job: Job) -> Receipt:
        """Put a job into the fleet; return the whole answer. Raises as `enqueue`."""
        warn_on_loop("enqueue")
        if self.context.registry.hooks.tracer is None:
            return self._submit(job)
        with enqueue_span(self.context, (job,)) as span:
            answer = self._submit(job)
            span.answered((answer,))
            return answer

    def _submit(self, job: Job) -> Receipt:
        if self.buffering is not None:
            return self.buffering.submit(job)
        job = self.context.apply_hooks(job)
        sent = quick(self.context, job, monotonic())
        if sent is None:
            answer = self._do(operation_for(self.context, job))
        elif sent.level or len(sent.entry.envelope) > self.context.inline_max:
            answer = self._do(jobs_enqueue.send(self.context, sent))
        else:  # nothing has to be looked up first
            new = self.store.run(enqueue(sent.lane, (sent.entry,)))[0]
            answer = self._do(settle_one(sent, new)) if isinstance(new, Holder) else receipt(sent, created=new)
        if self.recorder is not None:
            self.recorder.counted("enqueued", 1)
        return answer

    def send(self, sent: Submission) -> Receipt:
        """Send a prepared job; return the whole answer. Raises as `enqueue`."""
        if sent.level:
            answer = self._do(jobs_enqueue.send(self.context, sent))
            self.counted("enqueued", 1)
            return answer
        new = self.store.run(enqueue(sent.lane, (sent.entry,)))[0]
        answer = self._do(settle_one(sent, new)) if isinstance(new, Holder) else receipt(sent, created=new)
        self.counted("enqueued", 1)
        return answer

    def _default_is_open(self) -> bool | None:
        return default_is_open(self.store.at)

    def _audit_in_archive(self, chosen: AuditFilter, below: Position | None, limit: int) -> list[AuditRecord]:
        return self._archived.audit(chosen, below, limit)

    def from_archive(self, job_id: str) -> JobResult[Any]:
        """Return the result of a job that Redis does not know any more. Raises `JobNotFound`."""
        return self._archived.one(job_id)

    def envelope_from_archive(self, job_id: str) -> bytes:
        """Return the envelope of a job, with its arguments; empty if the archive does not have it."""
        return self._archived.envelope(job_id)

    def _with_life(self, details: JobDetails[Any], *, is_archived: bool = False) -> JobDetails[Any]:
        """Add the lines of a job's life that Redis does not have, if the archive has them."""
        from jobfleet.operations.jobs.details import completed, lacks_lines

        if self.config.archive_url is None or not (is_archived or lacks_lines(details)):
            return details
        return completed(details, self._archived.life(details.job.id))

    def _look_in_archive(self, job_id: str) -> JobResult[Any] | None:
        return self._archived.look(job_id)

    def _forget_in_archive(self, job_id: str) -> bool:
        return self._archived.forget(job_id)

    def _searched_in_archive(self, asked: Mapping[str, Any]) -> list[JobResult[Any]]:
        return self._archived.search(asked)

    def _hours_from_archive(self, asked: Window) -> dict[int, dict[int, Any]]:
        return self._archived.hours(asked) if asked.needs_archive else {}

    def _filled_from_archive(
        self, ids: Sequence[str], found: list[JobResult[Any] | None]
    ) -> list[JobResult[Any] | None]:
        return self._archived.filled(ids, found) if None in found else found


class ReceiptsBase(Iterator[Receipt]):
    """What receipts of `enqueue_many` can do besides being iterated: they warn on an event loop."""

    _touched = True  # until it is whole: what could not be made warns of nothing

    def _touch(self) -> None:
        if not self._touched:
            self._touched = True
            warn_on_loop("enqueue_many")

    def __del__(self) -> None:
        if not self._touched:
            warn("enqueue_many was not iterated: nothing was enqueued.", RuntimeWarning)


def warn_on_loop(verb: str) -> None:
    """Say that a verb blocks the event loop that runs here, if one does."""
    if running_loop() is not None:
        warn(f"{verb} blocks the event loop that runs here; {INSTEAD[verb]}.", RuntimeWarning)
