"""`AsyncClient`: all operations of a client; it has no worker. Here are those that read jobs, queues and workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

from jobfleet.client._async.connection import AsyncConnection
from jobfleet.client._async.dead import AsyncDead
from jobfleet.client._async.events import AsyncEvents
from jobfleet.client._async.fleet_verbs import AsyncFleetVerbs
from jobfleet.handle._async.handle import AsyncJobHandle
from jobfleet.model import Job, JobResult, JobStatus, Priority
from jobfleet.model.option_types import Seconds

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from jobfleet.client._async.cron import AsyncCronEntries
    from jobfleet.client._async.flows import AsyncFlows
    from jobfleet.client._async.limits import AsyncBreakers, AsyncGroups, AsyncLimits
    from jobfleet.model.fields import FilterTexts
    from jobfleet.model.history import FunctionTimes, History, QueueTrend
    from jobfleet.model.result import Explanation
    from jobfleet.model.scale import Scale
    from jobfleet.model.status import PriorityName, ShownState
    from jobfleet.operations.doctor.findings import Diagnosis
    from jobfleet.operations.functions import FunctionFilters, FunctionInfo
    from jobfleet.operations.jobs import listing
    from jobfleet.operations.jobs.matching import JobFilters
    from jobfleet.operations.jobs.searching import Search
    from jobfleet.operations.jobs.steer import Matching
    from jobfleet.operations.queues import LaneInfo, QueueInfo
    from jobfleet.operations.workers import WorkerInfo


class AsyncInspect(AsyncConnection):
    """Operations that read jobs, queues and workers."""

    async def letter(self, job_id: str) -> listing.Letter:
        """Return one dead letter with its history and arguments.

        Raises:
            JobNotFound: The job has no dead letter.
        """
        from jobfleet.operations.jobs import listing

        return await self._do(listing.letter(self.context, job_id))

    async def count_matching(
        self,
        act: Literal["cancel", "reschedule", "move"],
        *,
        most: int = 5000,
        to: str | None = None,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | PriorityName | None = None,
        **filters: Unpack[JobFilters],
    ) -> Matching:
        """Count the jobs that `cancel_many`, `reschedule_many` or `move_many` would change now; read a bounded number.

        With tags or a free text, such as `user`, only their index is read; otherwise every open job is, up
        to `most`.

        Args:
            act: What would be done.
            most: About how many jobs to read at most; then the count is a lower bound.
            to: The queue that jobs would move to.
            at: The due time that jobs would get.
            delay: The due time that jobs would get, in seconds from now.
            priority: The priority that jobs would get.
            filters: Which jobs; see `JobFilters`.

        Raises:
            ConfigError: No filter is given, or there is no such queue.
            InvalidJob: A filter or a value has a wrong value, or `most` is not a whole number from 1.
        """
        from jobfleet.operations.jobs.matching import Selection
        from jobfleet.operations.jobs.steer import count_matching, planned

        wanted = planned(act, to=to, at=at, delay=delay, priority=priority)
        return await self._do(count_matching(self.context, Selection(**filters), wanted, most=most))

    async def count_open(self, **filters: Unpack[JobFilters]) -> int:
        """Count the open jobs that `cancel_many` would cancel now. The filters and the errors are the same."""
        from jobfleet.operations.jobs.matching import Selection, count_open

        return await self._do(count_open(self.context, Selection(**filters)))

    async def key_uses(self) -> dict[str, int]:
        """Count the open jobs and dead letters by the id of the key that sealed them; the empty id stands for none.

        At most 10,000 jobs of each state and priority are read per lane.
        """
        from jobfleet.operations import statistics

        return await self._do(statistics.count_uses(self.context))

    async def full_ids(self, texts: Sequence[str]) -> list[str]:
        """Complete ids of which only a part is given: the beginning or the end of its last part.

        A part has at least 4 characters, and may begin with the queue and the lane. It is looked up among the jobs of
        all queues that are due first and last, that run, and that ended last. A complete id, and a text that fits no
        job, stays as it is.

        Args:
            texts: Ids, or parts of ids.

        Raises:
            InvalidJob: A part fits several jobs. The message names some of them.
        """
        from jobfleet.operations.jobs import listing

        return await self._do(listing.full_ids(self.context, texts))

    async def newest(
        self,
        *,
        function: str | None = None,
        name: str | None = None,
        status: JobStatus | ShownState | None = None,
        queue: str | None = None,
        group: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
    ) -> list[JobResult[Any]]:
        """Return the jobs that were enqueued last, in whatever state, newest first across queues.

        At most the newest 1,000 jobs of each kind (waiting per priority, running, ended) are read per lane. `jobs`
        reads all of them, a page at a time.

        Args:
            function: The registered name of their function.
            name: Their name, the label for people.
            status: Their status, or their state: parked, awaiting (a signal) or sleeping.
            queue: Their queue.
            group: Their group.
            since: They were enqueued at this time or later; a naive time is in this machine's local zone.
            until: They were enqueued before this time.
            limit: The largest number of jobs.

        Raises:
            ConfigError: There is no such queue.
            InvalidJob: `limit` is not a whole number from 1.
        """
        from jobfleet.operations.jobs import listing
        from jobfleet.operations.jobs.matching import Filter

        chosen = Filter(queue=queue, function=function, name=name, status=status, group=group, since=since, until=until)
        return await self._do(listing.newest(self.context, chosen, limit=limit))

    async def search(
        self, where: Sequence[str] | str, *, limit: int = 50, most: int = 10_000, **filters: Unpack[JobFilters]
    ) -> Search:
        """Find open jobs whose arguments or metadata have all given values; a bounded number of jobs is read.

        Args:
            where: NAME=VALUE, such as ``customer=acme``, or several. NAME is a parameter of the function, a key of the
                metadata, or the number of a positional argument from 0. VALUE is JSON or a text, and matches exactly.
            limit: The largest number of jobs.
            most: The most open jobs to read; `Search.is_all` says if there may be others.
            filters: Only jobs that match these, too; see `JobFilters`.

        Raises:
            ConfigError: There is no such queue, or the status is one of ended jobs.
            InvalidJob: A value is wrong, or its name is one that `redact` hides.
        """
        from jobfleet.operations.jobs.searching import search

        return await self._do(search(self.context, where, limit=limit, most=most, **filters))

    async def approvals(self, queue: str | None = None, *, limit: int = 100) -> listing.Approvals:
        """Return the jobs that wait for a signal since a run, that which has waited longest first.

        Per lane and priority, at most 20,000 jobs that are not due are looked at.

        Args:
            queue: Their queue; None for all queues.
            limit: The largest number of jobs.

        Raises:
            ConfigError: There is no such queue.
            InvalidJob: `limit` is not a whole number from 1.
        """
        from jobfleet.operations.jobs import listing

        return await self._do(listing.approvals(self.context, queue, limit=limit))

    async def jobs(self, *, limit: int = 50, cursor: str = "", **filters: Unpack[JobFilters]) -> listing.Page:
        """Return a page of the jobs that match all given filters.

        With tags or a free text, such as `user`, the newest jobs come first, in any state. Only the smallest of these
        indexes is read. Otherwise running jobs come first, then waiting jobs by urgency, then finished jobs, newest
        first, and every job is read until the page is full.

        Args:
            limit: The largest number of rows.
            cursor: `Page.cursor` of the previous page.
            filters: Which jobs; see `JobFilters`.

        Raises:
            ConfigError: There is no such queue, or the cursor is not from such a page.
            InvalidJob: A filter has a wrong value.
        """
        from jobfleet.operations.jobs import listing
        from jobfleet.operations.jobs.matching import Filter

        return await self._do(listing.jobs(self.context, Filter(**filters), limit=limit, cursor=cursor))

    async def archived(
        self,
        text: str | None = None,
        *,
        queue: str | None = None,
        function: str | None = None,
        name: str | None = None,
        tag: str | None = None,
        group: str | None = None,
        status: JobStatus | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        **texts: Unpack[FilterTexts],
    ) -> list[JobResult[Any]]:
        """Return the jobs in the archive that match all given conditions, newest first.

        Args:
            text: A part of their id, their name or their error. The database reads all jobs of the time for it.
            queue: Their queue.
            function: The registered name of their function.
            name: Their name, the label for people.
            tag: A tag.
            group: Their group.
            status: Their status.
            since: They were enqueued at this time or later; a naive time is in this machine's local zone.
            until: They were enqueued before this time.
            limit: The largest number of jobs.
            texts: Their free texts, such as `user` and `session`; see `FilterTexts`.

        Raises:
            ConfigError: There is no archive.
            InvalidJob: A condition is not valid; `field` names it.
            StoreUnavailable: The archive did not answer.
        """
        asked = {
            "text": text, "queue": queue, "function": function, "name": name, "tag": tag, "group": group,
            "status": status, "since": since, "until": until, "limit": limit, **texts,
        }  # fmt: skip
        return await self._searched_in_archive(asked)

    async def queues(self) -> list[QueueInfo]:
        """Return the state of every queue."""
        from jobfleet.operations import queues

        return await self._do(queues.queues(self.context))

    async def spread(self, queue: str | None = None) -> list[LaneInfo]:
        """Return the lanes of a queue, or of all, with the cluster node that serves each.

        Args:
            queue: The name of the queue.

        Raises:
            UnknownQueue: There is no such queue.
        """
        from jobfleet.operations import queues

        return await self._do(queues.spread(self.context, queue))

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers with a recent heartbeat."""
        from jobfleet.operations import workers

        return await self._do(workers.workers(self.context))

    async def functions(self, **filters: Unpack[FunctionFilters]) -> list[FunctionInfo]:
        """Return the functions that workers have published, by name: who has each, its options, its last hour.

        Args:
            filters: Which functions; see `FunctionFilters`.

        Raises:
            UnknownQueue: There is no such queue.
            ConfigError: There is no such worker.
            InvalidJob: No worker has published the function.
        """
        from jobfleet.operations import functions

        return await self._do(functions.functions(self.context, **filters))

    async def statistics(self, *, sample: int = 0) -> dict[str, Any]:
        """Count the jobs of the fleet and of each queue, and the last `sample` ended jobs by function and user.

        Args:
            sample: How many of the last ended jobs to read; default 0, which leaves out functions and users.

        Raises:
            InvalidJob: `sample` is not a whole number from 0.
        """
        from jobfleet.operations import statistics

        return await self._do(statistics.statistics(self.context, sample=sample))

    async def history(
        self,
        queue: str | None = None,
        function: str | None = None,
        *,
        since: float | timedelta | str | datetime = "1h",
        step: float | timedelta | str | None = None,
    ) -> History:
        """Return what was counted in each step of the past, from the samples that a reaper takes every 10 seconds.

        Steps of 10 s are kept for 2 hours, minutes for 48 hours, and hours for 90 days where there is an archive. A
        step in which no reaper ran has None in place of numbers.

        Args:
            queue: A queue; None for all.
            function: A function, in all its queues; None for all. Give a queue or a function, not both.
            since: How far back: seconds, a timedelta, a text such as ``"24h"``, or a time.
            step: The duration of a step; by default at most 60 steps.

        Raises:
            UnknownQueue: There is no such queue.
            InvalidJob: A value is not valid; or no worker knows the function, and it has not run in this time.
            ConfigError: The samples are not kept for so long, or not in such small steps.
            StoreUnavailable: The archive did not answer.
        """
        from jobfleet.operations import history

        asked = history.window(self.context, queue, function, since, step)
        hours = await self._hours_from_archive(asked)
        return await self._do(history.read(self.context, queue, function, since=since, step=step, hours=hours))

    async def busiest(self, *, limit: int = 20) -> list[FunctionTimes]:
        """Return the functions with the most runs in the last hour, with their wait and run times.

        Of a fleet with more than 50 functions only the first 50 by name are read.

        Args:
            limit: The most functions to return.
        """
        from jobfleet.operations import history

        return await self._do(history.busiest(self.context, limit=limit))

    async def trends(self, queues: Sequence[str]) -> list[QueueTrend]:
        """Return how many jobs of queues ended, and how many waited, in each whole minute of the last hour.

        Only the first 50 queues are read. A queue without samples has only gaps.

        Args:
            queues: The names of the queues.
        """
        from jobfleet.operations import history

        return await self._do(history.trends(self.context, queues))

    async def scale(
        self,
        queue: str,
        *,
        least: int = 0,
        most: int = 100,
        wait: float | timedelta | str = "15s",
        hold: float | timedelta | str = "5m",
    ) -> Scale:
        """Compute how many workers a queue needs now, and which ones to remove if there are too many.

        It follows from the waiting jobs, from the rate at which jobs become due, and from the mean duration of a run.
        It only reads; an autoscaler or an operator starts and stops the workers.

        Args:
            queue: The queue.
            least: The smallest number of workers.
            most: The largest number of workers, up to 10,000.
            wait: Within which time due jobs should start once the workers are there: seconds, a timedelta, or a text
                such as ``"15s"``.
            hold: How long workers are kept after the demand was larger, up to an hour.

        Raises:
            UnknownQueue: There is no such queue.
            InvalidJob: A value is not valid; `field` names it.
        """
        from jobfleet.operations import scale

        rule = scale.scale_rule(least, most, wait, hold)
        return await self._do(scale.scale(self.context, queue, rule))

    async def doctor(self) -> Diagnosis:
        """Check the server, the workers and a bounded part of each lane. Return the faults with their remedies.

        It only reads. `Diagnosis.is_sound` is true if there is no fault.
        """
        from jobfleet.operations.doctor import doctor  # for those who ask

        return await self._do(doctor.look(self.context, is_open=await self._default_is_open()))

    async def pending(self, queue: str | None = None, *, limit: int = 100) -> list[JobResult[Any]]:
        """Return waiting jobs, the most urgent first.

        Args:
            queue: A queue; None for all.
            limit: The most jobs to return; default 100.

        Raises:
            ConfigError: There is no such queue.
            InvalidJob: `limit` is not a whole number from 0.
        """
        from jobfleet.operations.jobs import listing

        return await self._do(listing.pending(self.context, queue, limit=limit))

    async def ended(self, *, limit: int = 50) -> list[JobResult[Any]]:
        """Return the jobs that ended last and whose results are stored, newest first, without their return values.

        Args:
            limit: The most jobs to return; default 50.

        Raises:
            InvalidJob: `limit` is not a whole number from 0.
        """
        from jobfleet.operations.jobs import listing

        return await self._do(listing.endings(self.context, limit=limit))

    async def explain(self, job_id: str) -> Explanation:
        """Explain why a job is not running, or how it ended; an unknown job is explained as such."""
        from jobfleet.operations.explain import explain  # for those who ask

        found = await self._do(explain.look(self.context, job_id))
        if found.details is None:
            return found
        return replace(found, details=await self._with_life(found.details))


T = TypeVar("T")


class AsyncClient(AsyncEvents, AsyncFleetVerbs, AsyncInspect, AsyncDead):
    """All operations of a client; it has no worker."""

    async def handle_of(self, job: Job[T]) -> AsyncJobHandle[T]:
        """Enqueue a job and return its handle. Raises the same errors as `enqueue`."""
        return AsyncJobHandle(self, await self.submit(job))

    @property
    def flows(self) -> AsyncFlows:
        """Flows: ``await fleet.flows.enqueue(flow)``, and the operations on them."""
        from jobfleet.client._async.flows import AsyncFlows

        return AsyncFlows(self, self._do)

    @property
    def cron(self) -> AsyncCronEntries:
        """The recurring jobs: ``await fleet.cron()`` lists them, ``await fleet.cron.add(…)`` adds one."""
        from jobfleet.client._async.cron import AsyncCronEntries  # croniter is for those who use it

        return AsyncCronEntries(self.context, self._do)

    @property
    def groups(self) -> AsyncGroups:
        """Strict sequences: ``await fleet.groups()`` lists them, ``await fleet.groups.skip(…)`` skips a head."""
        from jobfleet.client._async.limits import AsyncGroups

        return AsyncGroups(self.context, self._do)

    @property
    def breakers(self) -> AsyncBreakers:
        """Circuit breakers: ``await fleet.breakers()`` lists them, ``await fleet.breakers.close(…)`` closes one."""
        from jobfleet.client._async.limits import AsyncBreakers

        return AsyncBreakers(self.context, self._do)

    @property
    def limits(self) -> AsyncLimits:
        """Limits of queues and groups: ``await fleet.limits()`` lists them, ``await fleet.limits.set(…)`` sets them."""
        from jobfleet.client._async.limits import AsyncLimits

        return AsyncLimits(self.context, self._do)
