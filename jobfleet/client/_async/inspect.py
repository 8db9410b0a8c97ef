"""What a client shows of jobs, queues and workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobfleet.client._async.connection import AsyncConnection
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.explanation import Explanation
from jobfleet.operations import statistics as operations_statistics
from jobfleet.operations.jobs import listing, overview
from jobfleet.operations.jobs.filters import Filter
from jobfleet.operations.queues import info
from jobfleet.operations.workers import info as workers_info

if TYPE_CHECKING:
    from jobfleet.operations.doctor.findings import Diagnosis


class AsyncInspect(AsyncConnection):
    """What a client shows of jobs, queues and workers."""

    async def dead(self, queue: str | None = None, *, limit: int = 50) -> list[JobResult[Any]]:
        """The newest dead letters of a queue, or of all."""
        return await self._do(listing.dead(self.context, queue, limit=limit))

    async def letter(self, job_id: str) -> listing.Letter:
        """One dead letter, opened: history and arguments.

        Raises:
            JobNotFound: There is none of that job.
        """
        return await self._do(listing.letter(self.context, job_id))

    async def jobs(
        self,
        *,
        tags: Sequence[str] = (),
        user: str | None = None,
        session: str | None = None,
        function: str | None = None,
        status: JobStatus | None = None,
        queue: str | None = None,
        limit: int = 50,
        cursor: str = "",
    ) -> listing.Page:
        """A page of the jobs that have all this.

        Of tags, a user or a session the newest come first, wherever they stand; only those of the smallest of these
        indexes are looked at. Else running ones come first, then waiting ones by urgency, then finished ones, newest
        first, and every job is looked at until the page is full.

        Args:
            tags: Tags, all of them; one may stand alone.
            user: Whom they are attributed to.
            session: The session they belong to.
            function: Their function's name on the wire.
            status: Where they stand.
            queue: Their queue.
            limit: Rows at most.
            cursor: `Page.cursor` of the page before.

        Raises:
            ConfigError: There is no such queue, or no page has answered that cursor.
        """
        chosen = Filter(tags=tags, queue=queue, function=function, user=user, session=session, status=status)
        return await self._do(listing.jobs(self.context, chosen, limit=limit, cursor=cursor))

    async def queues(self) -> list[info.QueueInfo]:
        """Every queue at this moment."""
        return await self._do(info.queues(self.context))

    async def workers(self) -> list[workers_info.WorkerInfo]:
        """The workers that were heard of lately."""
        return await self._do(workers_info.workers(self.context))

    async def statistics(self, *, sample: int = 0) -> dict[str, Any]:
        """Counts of the whole fleet and of each queue; of the last `sample` ended jobs, by function and by user."""
        return await self._do(operations_statistics.statistics(self.context, sample=sample))

    async def doctor(self) -> Diagnosis:
        """Check the server, the workers and a bounded part of each lane: what is wrong, and what can be done.

        It only reads. `Diagnosis.is_sound` says whether there is no fault.
        """
        from jobfleet.operations.doctor import doctor  # for those who ask

        return await self._do(doctor.look(self.context))

    async def pending(self, queue: str | None = None, *, limit: int = 100) -> list[JobResult[Any]]:
        """Jobs that wait, the most urgent first."""
        return await self._do(overview.pending(self.context, queue, limit=limit))

    async def ended(self, *, limit: int = 50) -> list[JobResult[Any]]:
        """The jobs that ended last, of those whose results are kept, without what they returned; the newest first."""
        return await self._do(overview.endings(self.context, limit=limit))

    async def explain(self, job_id: str) -> Explanation:
        """Explain why a job is not running, or how it ended; an unknown job is explained as such."""
        from jobfleet.operations.explain import explain  # for those who ask

        return await self._do(explain.look(self.context, job_id))
