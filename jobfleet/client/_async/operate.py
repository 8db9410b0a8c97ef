"""Operations that change the fleet: queues, workers and open jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

from jobfleet.client._async.audit import AsyncAudit, audited
from jobfleet.client._async.background import sleep
from jobfleet.client._async.fleet_verbs import AsyncFleetVerbs
from jobfleet.model import JobId
from jobfleet.model.option_types import Seconds

if TYPE_CHECKING:
    from jobfleet.operations import workers
    from jobfleet.operations.doctor.doctor import Repair
    from jobfleet.operations.jobs.matching import JobFilters


class AsyncWorkers(AsyncAudit):
    """Operations of a client on workers."""

    async def command_workers(
        self,
        ids: Sequence[str],
        command: str,
        *,
        processes: int | None = None,
        grace: Seconds | None = None,
        timeout: Seconds = 10.0,
        by: str | None = None,
    ) -> list[workers.Confirmation]:
        """Send a command to workers, wait until their heartbeats confirm it, and return the state of each.

        Args:
            ids: The workers.
            command: ``quiet``, ``resume``, ``stop``, ``scale`` or ``dump``.
            processes: The number of children per worker, for ``scale``.
            grace: Seconds that running jobs may take to end, for ``stop``; default the setting of each worker.
            timeout: Seconds to wait. A worker may confirm later.
            by: The person or program that gives the command, for the record.

        Raises:
            ConfigError: There is no such command, or an argument is missing or wrong.
        """
        from jobfleet.operations import actions, workers

        order = workers.Order(ids, command, processes=processes, grace=grace, timeout=timeout, by=by)
        action = actions.command_workers(self.context, ids, command, processes=processes, grace=order.grace)
        return await audited(self.context, self._do, action, lambda: self._confirmed(order), by=by)

    async def _confirmed(self, order: workers.Order) -> list[workers.Confirmation]:
        while True:
            confirmations = await self._do(order.turn(self.context))
            if order.is_over:
                return confirmations
            await sleep(order.pause)

    async def child_stacks(self, child: str, *, timeout: Seconds = 10.0, by: str | None = None) -> workers.ChildStacks:
        """Ask for the stacks of a child: of its threads and asyncio tasks, each with the job that it works for.

        A child whose event loop is blocked answers, too. A job in a process of its own shows only that the child waits
        for it.

        Args:
            child: The id of the child; `WorkerInfo.processes` has it, and a running job has it as `worker`.
            timeout: Seconds to wait for the answer.
            by: The person or program that asks, for the record.

        Returns:
            The stacks, or with `refusal` why there are none.

        Raises:
            ConfigError: An argument is wrong.
        """
        from jobfleet.operations import actions, workers

        question = workers.Question(child, timeout=timeout, by=by)
        action = actions.child_stacks(child)
        return await audited(self.context, self._do, action, lambda: self._answered(question), by=by)

    async def _answered(self, question: workers.Question) -> workers.ChildStacks:
        while (found := await self._do(question.turn(self.context))) is None:
            await sleep(question.pause)
        return found


T = TypeVar("T")


class AsyncOperate(AsyncFleetVerbs, AsyncWorkers):
    """Operations of a client that change queues, workers and open jobs."""

    async def repair(self, *, dry_run: bool = False, by: str | None = None) -> list[Repair]:
        """Repair contradictions in the data that `doctor` finds and that are safe to repair while the fleet runs.

        Args:
            dry_run: Only look for them.
            by: The person or program that repairs, for the audit.
        """
        from jobfleet.operations import actions
        from jobfleet.operations.doctor import doctor  # for those who ask

        work = doctor.repair(self.context, dry_run=dry_run)
        if dry_run:
            return await self._do(work)
        return await self._audited(actions.repair(), work, by)

    async def clean(self, older_than: Seconds, queue: str | None = None, *, by: str | None = None) -> int:
        """Delete the results of jobs that ended more than `older_than` seconds ago, and return how many.

        Results expire by themselves after their TTL; this deletes them sooner. The id of a job stays known as long as
        its enqueue may be repeated (the settings ``dedupe_window`` and ``own_id_window``). Dead letters stay until
        they are purged.

        Args:
            older_than: Age in seconds, or a timedelta.
            queue: A queue; None for all.
            by: The person or program that deletes, for the audit.

        Raises:
            ConfigError: There is no such queue.
            InvalidJob: `older_than` is not a duration.
        """
        from jobfleet.operations import actions
        from jobfleet.operations.jobs import listing

        work = listing.clean(self.context, older_than, queue)
        return await self._audited(actions.clean(older_than, queue), work, by)

    async def count_open(self, **filters: Unpack[JobFilters]) -> int:
        """Count the open jobs that `cancel_many` would cancel now. The filters and the errors are the same."""
        from jobfleet.operations.jobs.matching import Selection, count_open

        return await self._do(count_open(self.context, Selection(**filters)))

    @overload
    async def move(self, job_id: JobId[T], queue: str, *, by: str | None = None) -> JobId[T]: ...
    @overload
    async def move(self, job_id: str, queue: str, *, by: str | None = None) -> str: ...
    async def move(self, job_id: str, queue: str, *, by: str | None = None) -> str:
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

        return await self._act(steer.move, by, job_id, queue, by)
