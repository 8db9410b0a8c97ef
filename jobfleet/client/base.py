"""The common base of the two clients: settings, names, recorder, archive, and the schedule of a wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from jobfleet.archive import database_errors
from jobfleet.clock import monotonic, seconds, span
from jobfleet.config import JobConfig, Loaded, load, mask_url
from jobfleet.config.argument_types import FleetSettings
from jobfleet.config.layers import FOUND, running_url
from jobfleet.config.url import DEFAULT_URL
from jobfleet.errors import ConfigError, InvalidJob, JobNotFound, StoreUnavailable
from jobfleet.functions.default_fleet import offered_settings
from jobfleet.functions.hooks import Hooks
from jobfleet.functions.registry import REGISTRY, JobFunction, Registry
from jobfleet.model import Job, JobResult
from jobfleet.model.option_types import Seconds
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import rebuilt_in
from jobfleet.store.target import Target, target_of
from jobfleet.store.trip import Recorder

if TYPE_CHECKING:
    from jobfleet.archive import JobRepository
    from jobfleet.client.buffer import JobBuffer
    from jobfleet.model.audit import AuditFilter, Position
    from jobfleet.operations.history import Window
    from jobfleet.store.aio import AsyncStore
    from jobfleet.store.calls.journal import AuditRecord
    from jobfleet.store.sync import Store


_log = logging.getLogger("jobfleet.client")

CLOSING = 5.0
"""Seconds for which a client that is closed tries to flush its local buffer."""
WARN_AFTER = 3.0
"""Seconds of a wait after which it looks for hindrances, once."""
EXPLAIN_FROM = 1.0
"""Least time limit, in seconds, of a wait that explains its end. A shorter one may be part of a loop."""
MARK_EVERY = 30.0
IN_REQUESTS = 2.0
"""Seconds for which a client tries to reach Redis while a web request waits for it."""


class ClientRecorder(Recorder, Protocol):
    """Receives what a client counts."""

    def counted(self, operation: str, by: int) -> None:
        """Count jobs of an operation, which is named in the past tense: ``enqueued``."""


def open_settings(url: str | None, namespace: str | None, settings: FleetSettings) -> Loaded:
    """Load the settings of a client: arguments, else variables, else files, else defaults."""
    given = {"url": url, "namespace": namespace, **settings}
    return load({name: value for name, value in given.items() if value is not None}, refuse_unknown=False)


class ClientBase:
    """A client's settings, names and recorder; `Fleet` describes the arguments."""

    _store: AsyncStore | Store | None = None
    up_folder: Path | None = None
    """Where the client looks for a `jobfleet up` when no server answers; None if a setting names the URL."""
    _are_default: frozenset[str] = frozenset()  # names of the settings that nobody has chosen

    def __init__(
        self,
        url: str | None = None,
        namespace: str | None = None,
        *,
        registry: Registry | None = None,
        **settings: Unpack[FleetSettings],
    ) -> None:
        loaded = open_settings(url, namespace, settings)
        self._set_up(loaded.config, registry)
        self._are_default = frozenset(name for name, source in loaded.sources.items() if source == "default")
        if loaded.sources["url"] in FOUND:
            with suppress(OSError):  # the working folder is removed
                self.up_folder = Path.cwd()

    def _set_up(
        self,
        config: JobConfig,
        registry: Registry | None,
        *,
        target: Target | None = None,
        recorder: ClientRecorder | None = None,
        buffer: JobBuffer | None = None,
    ) -> None:
        """Set the attributes; a client with another client's server, recorder and buffer is given them."""
        self.context: FleetContext = FleetContext(config, registry if registry is not None else REGISTRY)
        self.target: Target | None = target
        self._owns_target = target is None
        self.recorder: ClientRecorder | None = recorder
        self._archived = ArchiveFallback(self.context)
        self._opening = threading.Lock()
        self._owns_buffer = buffer is None
        self.buffer: JobBuffer | None = buffer
        # A job in a worker that cannot enqueue fails and is retried. That loses less than the memory of a worker would.
        if config.buffer and buffer is None and offered_settings() is None:
            from jobfleet.client.buffer import JobBuffer

            self.buffer = JobBuffer(self.context, self._store_of_buffer, self.counted)

    @property
    def config(self) -> JobConfig:
        """The settings."""
        return self.context.config

    def serve_requests(self) -> None:
        """Give up after 2 s instead of 10 s when Redis does not reply, because a web request waits for this client.

        The integrations of web frameworks call it. `patience` and `connect_timeout` stay as they are if an argument, a
        variable or a file sets them.
        """
        names = self._are_default & {"patience", "connect_timeout"}
        shorter = {name: min(IN_REQUESTS, getattr(self.config, name)) for name in names}
        self.context.config = config = replace(self.config, **shorter)
        if self._store is not None:
            self._store.patience = config.patience

    @property
    def hooks(self) -> Hooks:
        """The hooks that run before, after and around its functions."""
        return self.context.registry.hooks

    @property
    def buffered(self) -> int:
        """The number of jobs in the local buffer, which are not in Redis yet."""
        return 0 if self.buffer is None else len(self.buffer)

    def counted(self, operation: str, by: int) -> None:
        """Pass a count to the recorder, if there is one."""
        if self.recorder is not None:
            self.recorder.counted(operation, by)

    def _store_of_buffer(self) -> Store:
        """The connection of the thread that flushes the buffer; the thread has patience of its own."""
        from jobfleet.store.sync import Store

        config = self.context.config
        store = Store(
            self._open_target(),
            patience=0.0,
            connect_timeout=config.connect_timeout,
            socket_timeout=config.socket_timeout,
            max_connections=1,
        )
        if self.up_folder is not None:
            from jobfleet.client.discovery import FindingLink

            store.link = FindingLink(
                store,
                self._found,
                self._reached,
                connect_timeout=config.connect_timeout,
                socket_timeout=config.socket_timeout,
                max_connections=1,
            )
        return store

    def _open_target(self) -> Target:
        """Return where Redis is; for ``embedded://``, start the server if none runs."""
        if self.target is None:
            self.target = target_of(self.context.config, warns=True)
        return self.target

    def _found(self, at: Target) -> Target | None:
        """Return the server of a running `jobfleet up`, and use it from now on; None if it is `at`, or none runs.

        Args:
            at: The server that does not answer.
        """
        url = None if self.up_folder is None else running_url(self.up_folder)
        if url is None or url == at.url:
            return None
        config = replace(self.context.config, url=url)
        found = target_of(config, warns=True)
        _log.warning("redis.elsewhere url=%s is used from now on: %s does not answer", found.shown, at.shown)
        self.context.config, self.target = config, found
        return found

    def _reached(self, at: Target) -> None:
        """Look for no `jobfleet up` any more once the default server was reached: this client may have jobs in it."""
        if at.url == DEFAULT_URL:
            self.up_folder = None

    def _close_target(self) -> None:
        """End the server if ``embedded://`` started one for this client; let the archive go."""
        if self.target is not None and self._owns_target:
            self.target.close()
            self.target = None
        self._archived.close()

    def __repr__(self) -> str:
        from jobfleet.config import mask_url

        return f"<{type(self).__name__} {mask_url(self.config.url)} {self.config.namespace!r}>"


class Deadline:
    """How long a wait lasts, and when it checks that workers can run the jobs.

    Args:
        timeout: Time limit in seconds, or a timedelta; None for no limit.

    Attributes:
        timeout: The time limit in seconds.
        ends_at: When the time is up, by the monotonic clock; None for never.
        warn_at: When to check that workers can run the jobs; None if that was done.
        explains: Whether the error of the wait says why the job has not ended.

    Raises:
        InvalidJob: The timeout is not a duration.
    """

    def __init__(self, timeout: Seconds | None) -> None:
        self.timeout: float | None = None if timeout is None else seconds(timeout, field="timeout")
        self.ends_at: float | None = None if self.timeout is None else monotonic() + self.timeout
        self.warn_at: float | None = monotonic() + WARN_AFTER
        self.explains: bool = self.timeout is not None and self.timeout >= EXPLAIN_FROM

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.ends_at is not None and monotonic() >= self.ends_at

    @property
    def should_warn(self) -> bool:
        """Whether it is time to check that workers can run the jobs; true once."""
        if self.warn_at is None or monotonic() < self.warn_at:
            return False
        self.warn_at = None
        return True

    @property
    def left(self) -> float | None:
        """Seconds until the time is up or the check is due; None if neither comes."""
        moments = [at for at in (self.ends_at, self.warn_at) if at is not None]
        return max(0.0, min(moments) - monotonic()) if moments else None

    def at_most(self, limit: float) -> Deadline:
        """Return a part of this wait, of at most `limit` seconds."""
        part, now = copy(self), monotonic()
        part.explains = False  # the whole wait has not ended with it
        part.ends_at = now + limit if self.ends_at is None else min(now + limit, self.ends_at)
        if self.warn_at is not None and self.warn_at <= part.ends_at:
            self.warn_at = None  # this part does it
        else:
            part.warn_at = None
        return part


def still_running(error: StoreUnavailable, since: float) -> StoreUnavailable:
    """Return the error of a wait during an outage: it says why the wait ends before its timeout, and what to do.

    Args:
        error: The error of the read.
        since: When the read began, monotonic seconds.
    """
    return StoreUnavailable(
        f"{error} Redis was away for {span(monotonic() - since)}, as long as the setting patience allows; this ends "
        "the wait, whatever its timeout. The job continues: wait for it again, or raise patience."
    )


def still_buffered(error: StoreUnavailable) -> StoreUnavailable:
    """Return the error of a wait for a job in the local buffer: it says that the job is kept."""
    return StoreUnavailable(f"{error} This ends only the wait: the job is kept, and can be waited for again.")


class Marking:
    """When to mark again that a client listens to the events of a lane."""

    def __init__(self) -> None:
        self._mark_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time to mark again; true once per interval."""
        if monotonic() < self._mark_at:
            return False
        self._mark_at = monotonic() + MARK_EVERY
        return True


def check_many(jobs: object, chunk: object) -> None:
    """Refuse what `enqueue_many` cannot take.

    Raises:
        InvalidJob: `jobs` is not iterable, or `chunk` is not a whole number.
    """
    if isinstance(jobs, str) or not isinstance(jobs, Iterable):
        raise InvalidJob(f"jobs is {jobs!r:.100}; give an iterable of Jobs.", field="jobs")
    if isinstance(chunk, bool) or not isinstance(chunk, int):
        raise InvalidJob(f"chunk is {chunk!r:.100}; give a whole number.", field="chunk")


def ids_of(jobs: Iterable[object]) -> Sequence[str]:
    """Return the ids of jobs that are given as ids, handles or receipts.

    Raises:
        InvalidJob: One of them is something else.
    """
    ids = []
    for job in jobs:
        job_id = job if isinstance(job, str) else getattr(job, "id", None)
        if not isinstance(job_id, str):
            raise InvalidJob(f"{job!r:.100} is not a job; give ids, handles or receipts.", field="jobs")
        ids.append(job_id)
    return ids


def jobs_for(function: Callable[..., Any] | str, iterables: Sequence[Iterable[Any]]) -> Iterator[Job]:
    """Make one job per item of some iterables.

    Raises:
        InvalidJob: There is no iterable, or one of the arguments is not iterable.
    """
    if not iterables or not all(isinstance(items, Iterable) for items in iterables):
        raise InvalidJob("map needs a function and at least one iterable with its arguments.", field="iterables")
    if isinstance(function, JobFunction):
        return (function.job(*args) for args in zip(*iterables, strict=False))
    name = function if isinstance(function, str) else getattr(function, "__name__", type(function).__name__)
    return (Job(name, function, args) for args in zip(*iterables, strict=False))


class ArchiveFallback:
    """The archive of a client, connected on first use.

    Args:
        context: The settings and limits of the client.
    """

    def __init__(self, context: FleetContext) -> None:
        self._context = context
        self._repository: JobRepository | None = None
        self._lock = threading.Lock()

    def one(self, job_id: str) -> JobResult[Any]:
        """Return the result of an ended job.

        Raises:
            JobNotFound: There is no archive, or it does not have the job.
            StoreUnavailable: The archive did not answer.
        """
        (result,) = self._read([job_id])
        if result is None:
            raise JobNotFound(job_id)
        return result

    def filled(self, ids: Sequence[str], found: Sequence[JobResult[Any] | None]) -> list[JobResult[Any] | None]:
        """Return the jobs that were found, and from the archive those that were not.

        Raises:
            StoreUnavailable: The archive did not answer.
        """
        archived = iter(self._read([job_id for job_id, result in zip(ids, found, strict=True) if result is None]))
        return [next(archived) if result is None else result for result in found]

    def look(self, job_id: str) -> JobResult[Any] | None:
        """Return a job, open or ended; None if there is no archive, or it does not have the job or does not answer."""
        url = self._context.config.archive_url
        if url is None:
            return None
        repository = self._opened(url)
        try:
            return repository.get(job_id)
        except database_errors():
            return None

    def life(self, job_id: str) -> tuple[str, ...]:
        """Return the lines of a job's life; none if there is no archive, or it has no such table or does not answer."""
        url = self._context.config.archive_url
        if url is None:
            return ()
        repository = self._opened(url)
        try:
            return repository.life(job_id)
        except database_errors():
            return ()

    def envelope(self, job_id: str) -> bytes:
        """Return the envelope of a job, with its arguments; empty if there is no archive, or it does not have it.

        Raises:
            StoreUnavailable: The archive did not answer.
        """
        url = self._context.config.archive_url
        if url is None:
            return b""
        repository = self._opened(url)
        try:
            return repository.envelope(job_id)
        except database_errors() as error:
            reason = str(error).split("\n", 1)[0]
            raise StoreUnavailable(f"The archive at {mask_url(url)} does not answer: {reason}") from None

    def forget(self, job_id: str) -> bool:
        """Erase a job; return whether the archive had it.

        Raises:
            StoreUnavailable: The archive did not answer.
        """
        url = self._context.config.archive_url
        if url is None:
            return False
        repository = self._opened(url)
        try:
            return repository.forget(job_id)
        except database_errors() as error:
            reason = str(error).split("\n", 1)[0]
            raise StoreUnavailable(
                f"{job_id} is erased in Redis, but not in the archive at {mask_url(url)}, which does not answer: "
                f"{reason} Forget it again when the archive answers."
            ) from None

    def search(self, asked: Mapping[str, Any]) -> list[JobResult[Any]]:
        """Return the jobs that meet the given conditions, newest first.

        Raises:
            ConfigError: There is no archive.
            StoreUnavailable: The archive did not answer.
        """
        url = self._context.config.archive_url
        if url is None:
            raise ConfigError("There is no archive: set archive_url / JOBFLEET_ARCHIVE_URL.")
        repository = self._opened(url)
        try:
            return repository.search(**asked)
        except database_errors() as error:
            reason = str(error).split("\n", 1)[0]
            raise StoreUnavailable(f"The archive at {mask_url(url)} does not answer: {reason}") from None

    def hours(self, asked: Window) -> dict[int, dict[int, Any]]:
        """Return the samples of hours by their beginning, in seconds since 1970.

        Raises:
            StoreUnavailable: The archive did not answer, or its tables are of an earlier version.
        """
        url = self._context.config.archive_url
        if url is None:
            return {}
        repository = self._opened(url)
        from jobfleet.archive.copies import read_hours

        try:
            return read_hours(repository.engine, repository.namespace, asked.series, since=time() - asked.length)
        except database_errors() as error:
            reason = str(error).split("\n", 1)[0]
            raise StoreUnavailable(f"The archive at {mask_url(url)} does not answer: {reason}") from None

    def audit(self, chosen: AuditFilter, below: Position | None, limit: int) -> list[AuditRecord]:
        """Return older records of the audit; none if there is no archive.

        Raises:
            StoreUnavailable: The archive did not answer.
        """
        url = self._context.config.archive_url
        if url is None:
            return []
        from jobfleet.archive.copies import AuditArchive

        repository = self._opened(url)
        try:
            archive = AuditArchive(repository.engine, repository.namespace, self._context.keys.seals)
            return archive.page(chosen, below=below, limit=limit)
        except database_errors() as error:
            reason = str(error).split("\n", 1)[0]
            raise StoreUnavailable(f"The archive at {mask_url(url)} does not answer: {reason}") from None

    def _read(self, ids: Sequence[str]) -> list[JobResult[Any] | None]:
        """Read jobs; None for each job that has not ended, or that the archive does not have."""
        url = self._context.config.archive_url
        if url is None:
            return [None] * len(ids)
        repository = self._opened(url)
        try:
            results = repository.get_many(ids)
        except database_errors() as error:
            reason = str(error).split("\n", 1)[0]
            raise StoreUnavailable(f"The archive at {mask_url(url)} does not answer: {reason}") from None
        return [
            rebuilt_in(self._context, result) if result is not None and result.status.is_final else None
            for result in results
        ]

    def _opened(self, url: str) -> JobRepository:
        from jobfleet.archive import JobRepository  # a client without an archive does not load it

        with self._lock:
            if self._repository is None:
                namespace = self._context.config.namespace
                self._repository = JobRepository(
                    url, namespace=namespace, limits=self._context.limits, seals=self._context.keys.seals
                )
            return self._repository

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._repository is not None:
                self._repository.close()
                self._repository = None
