"""Jobs that Redis has deleted and the archive, if there is one, still has."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jobfleet.archive import database_errors
from jobfleet.config import mask_url
from jobfleet.errors import JobNotFound, StoreUnavailable
from jobfleet.model import JobResult
from jobfleet.operations.fleet_context import FleetContext

if TYPE_CHECKING:
    from jobfleet.archive import JobRepository


class ArchiveFallback:
    """The archive of a client, connected on first use.

    Args:
        context: The settings and limits of the client.
    """

    def __init__(self, context: FleetContext) -> None:
        self._context = context
        self._repository: JobRepository | None = None

    def one(self, job_id: str) -> JobResult[Any]:
        """Return the result of an ended job.

        Raises:
            JobNotFound: There is no archive, or it does not have the job.
            StoreUnavailable: The archive did not answer.
        """
        config = self._context.config
        if config.archive_url is None:
            raise JobNotFound(job_id)
        if self._repository is None:
            from jobfleet.archive import JobRepository

            self._repository = JobRepository(
                config.archive_url, namespace=config.namespace, limits=self._context.limits
            )
        try:
            result = self._repository.get(job_id)
        except database_errors() as error:
            where, reason = mask_url(config.archive_url), str(error).split("\n", 1)[0]
            raise StoreUnavailable(f"The archive at {where} does not answer: {reason}") from None
        if result is None or not result.status.is_final:
            raise JobNotFound(job_id)
        return result

    def filled(self, ids: Sequence[str], found: Sequence[JobResult[Any] | None]) -> list[JobResult[Any] | None]:
        """Return the jobs that were found, and from the archive those that were not."""
        every = list(found)
        if self._context.config.archive_url is not None:
            for place, result in enumerate(found):
                if result is None:
                    with suppress(JobNotFound):
                        every[place] = self.one(ids[place])
        return every

    def close(self) -> None:
        """Close the connections."""
        if self._repository is not None:
            self._repository.close()
            self._repository = None
