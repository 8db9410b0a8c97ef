"""The archive of a client, if there is one: jobs that Redis has deleted, and jobs to erase."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from time import time
from typing import TYPE_CHECKING, Any

from jobfleet.archive import database_errors
from jobfleet.config import mask_url
from jobfleet.errors import ConfigError, JobNotFound, StoreUnavailable
from jobfleet.model import JobResult
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.rebuilt import rebuilt_in

if TYPE_CHECKING:
    from jobfleet.archive import JobRepository
    from jobfleet.model.audit import AuditFilter, Position
    from jobfleet.operations.history import Window
    from jobfleet.store.calls.journal import AuditRecord


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
