"""The part of both clients that explains jobs, and steers open ones: `Fleet`'s, and `AsyncFleet`'s."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime

from jobfleet.client.base import ClientBase
from jobfleet.model import JobStatus, Priority
from jobfleet.model.explanation import Explanation
from jobfleet.model.options import Seconds
from jobfleet.operations.explain.explain import look
from jobfleet.operations.jobs import move as jobs_move
from jobfleet.operations.jobs import reschedule as jobs_reschedule
from jobfleet.operations.jobs.selection import Selection, cancel_many, count_open
from jobfleet.operations.operation import BulkOperation, T


class Steering(ClientBase):
    """What `Fleet` does with open jobs."""

    @abstractmethod
    def _do(self, operation: BulkOperation[T]) -> T:
        """Run an operation; the fleet that inherits this has it."""

    def explain(self, job_id: str) -> Explanation:
        """Explain why a job is not running, or how it ended; an unknown job is explained as such."""
        return self._do(look(self.context, job_id))

    def cancel_many(
        self,
        *,
        tags: Sequence[str] = (),
        queue: str | None = None,
        function: str | None = None,
        user: str | None = None,
        session: str | None = None,
        status: JobStatus | None = None,
        by: str | None = None,
    ) -> int:
        """Cancel the open jobs that have all this, in bounded batches; how many ended or were asked to stop.

        With tags, a user or a session only their jobs are looked at; else every open job is.

        Raises:
            ConfigError: Nothing is given that says which.
        """
        chosen = Selection(tags=tags, queue=queue, function=function, user=user, session=session, status=status)
        return self._do(cancel_many(self.context, chosen, by))

    def count_open(
        self,
        *,
        tags: Sequence[str] = (),
        queue: str | None = None,
        function: str | None = None,
        user: str | None = None,
        session: str | None = None,
        status: JobStatus | None = None,
    ) -> int:
        """How many open jobs `cancel_many` would cancel now. Raises as it does."""
        chosen = Selection(tags=tags, queue=queue, function=function, user=user, session=session, status=status)
        return self._do(count_open(self.context, chosen))

    def reschedule(
        self,
        job_id: str,
        *,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | None = None,
        by: str | None = None,
    ) -> bool:
        """Give a waiting job another due time, another priority, or both; False when it runs or has ended.

        Args:
            job_id: Which.
            at: Due then; naive means this machine's local time.
            delay: Due so many seconds from now, by Redis's clock.
            priority: How urgent it is from now on.
            by: Who asks.

        Raises:
            JobNotFound: It is not known.
            InvalidJob: Nothing is to be changed, or a value cannot be.
        """
        return self._do(
            jobs_reschedule.reschedule(self.context, job_id, jobs_reschedule.change_of(at, delay, priority), by)
        )

    def reschedule_many(
        self,
        *,
        tags: Sequence[str] = (),
        queue: str | None = None,
        function: str | None = None,
        user: str | None = None,
        session: str | None = None,
        status: JobStatus | None = None,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | None = None,
        by: str | None = None,
        dry_run: bool = False,
    ) -> int:
        """Reschedule the waiting jobs that have all this, in bounded batches.

        With tags, a user or a session only their jobs are looked at, else every waiting job, 50 at once, while others
        are enqueued and claimed. A `delay` counts from the beginning.

        Returns:
            How many were rescheduled, or would be with `dry_run`.

        Raises:
            InvalidJob: Nothing is to be changed, or a value cannot be.
            ConfigError: Nothing is given that says which, or there is no such queue.
        """
        change = jobs_reschedule.change_of(at, delay, priority)
        chosen = Selection(tags=tags, queue=queue, function=function, user=user, session=session, status=status)
        return self._do(jobs_reschedule.reschedule_many(self.context, chosen, change, by, dry_run=dry_run))

    def move(self, job_id: str, queue: str, *, by: str | None = None) -> str:
        """Let a waiting job wait in another queue, as a new job; return its id. Repeating the call is safe.

        The new job has the same call, due time, priority and expiry, and budgets, log and steps of its own. The old
        one is closed as cancelled, with `moved_to`. Should this process die half-way, both are there; the same call
        finishes it.

        Raises:
            JobNotFound: It is not known.
            InvalidJob: It runs or has ended, is in that queue already, or other jobs wait for its end.
            DuplicateJob: A job of that queue holds its unique key.
            FleetFull: Redis has no memory left.
        """
        return self._do(jobs_move.move(self.context, job_id, queue, by))

    def move_many(
        self,
        to: str,
        *,
        tags: Sequence[str] = (),
        queue: str | None = None,
        function: str | None = None,
        user: str | None = None,
        session: str | None = None,
        status: JobStatus | None = None,
        by: str | None = None,
        dry_run: bool = False,
    ) -> int:
        """Move the waiting jobs that have all this to another queue, in bounded batches.

        Returns:
            How many were moved, or would be with `dry_run`.

        Raises:
            ConfigError: Nothing is given that says which, or there is no such queue to move from.
        """
        chosen = Selection(tags=tags, queue=queue, function=function, user=user, session=session, status=status)
        return self._do(jobs_move.move_many(self.context, chosen, to, by, dry_run=dry_run))


class AsyncSteering(ClientBase):
    """What `AsyncFleet` does with open jobs."""

    @abstractmethod
    async def _do(self, operation: BulkOperation[T]) -> T:
        """Run an operation; the fleet that inherits this has it."""

    async def explain(self, job_id: str) -> Explanation:
        """Explain why a job is not running, or how it ended; an unknown job is explained as such."""
        return await self._do(look(self.context, job_id))

    async def cancel_many(
        self,
        *,
        tags: Sequence[str] = (),
        queue: str | None = None,
        function: str | None = None,
        user: str | None = None,
        session: str | None = None,
        status: JobStatus | None = None,
        by: str | None = None,
    ) -> int:
        """Cancel the open jobs that have all this, in bounded batches; how many ended or were asked to stop.

        With tags, a user or a session only their jobs are looked at; else every open job is.

        Raises:
            ConfigError: Nothing is given that says which.
        """
        chosen = Selection(tags=tags, queue=queue, function=function, user=user, session=session, status=status)
        return await self._do(cancel_many(self.context, chosen, by))

    async def count_open(
        self,
        *,
        tags: Sequence[str] = (),
        queue: str | None = None,
        function: str | None = None,
        user: str | None = None,
        session: str | None = None,
        status: JobStatus | None = None,
    ) -> int:
        """How many open jobs `cancel_many` would cancel now. Raises as it does."""
        chosen = Selection(tags=tags, queue=queue, function=function, user=user, session=session, status=status)
        return await self._do(count_open(self.context, chosen))

    async def reschedule(
        self,
        job_id: str,
        *,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | None = None,
        by: str | None = None,
    ) -> bool:
        """Give a waiting job another due time, another priority, or both; False when it runs or has ended.

        Args:
            job_id: Which.
            at: Due then; naive means this machine's local time.
            delay: Due so many seconds from now, by Redis's clock.
            priority: How urgent it is from now on.
            by: Who asks.

        Raises:
            JobNotFound: It is not known.
            InvalidJob: Nothing is to be changed, or a value cannot be.
        """
        return await self._do(
            jobs_reschedule.reschedule(self.context, job_id, jobs_reschedule.change_of(at, delay, priority), by)
        )

    async def reschedule_many(
        self,
        *,
        tags: Sequence[str] = (),
        queue: str | None = None,
        function: str | None = None,
        user: str | None = None,
        session: str | None = None,
        status: JobStatus | None = None,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | None = None,
        by: str | None = None,
        dry_run: bool = False,
    ) -> int:
        """Reschedule the waiting jobs that have all this, in bounded batches.

        With tags, a user or a session only their jobs are looked at, else every waiting job, 50 at once, while others
        are enqueued and claimed. A `delay` counts from the beginning.

        Returns:
            How many were rescheduled, or would be with `dry_run`.

        Raises:
            InvalidJob: Nothing is to be changed, or a value cannot be.
            ConfigError: Nothing is given that says which, or there is no such queue.
        """
        change = jobs_reschedule.change_of(at, delay, priority)
        chosen = Selection(tags=tags, queue=queue, function=function, user=user, session=session, status=status)
        return await self._do(jobs_reschedule.reschedule_many(self.context, chosen, change, by, dry_run=dry_run))

    async def move(self, job_id: str, queue: str, *, by: str | None = None) -> str:
        """Let a waiting job wait in another queue, as a new job; return its id. Repeating the call is safe.

        The new job has the same call, due time, priority and expiry, and budgets, log and steps of its own. The old
        one is closed as cancelled, with `moved_to`. Should this process die half-way, both are there; the same call
        finishes it.

        Raises:
            JobNotFound: It is not known.
            InvalidJob: It runs or has ended, is in that queue already, or other jobs wait for its end.
            DuplicateJob: A job of that queue holds its unique key.
            FleetFull: Redis has no memory left.
        """
        return await self._do(jobs_move.move(self.context, job_id, queue, by))

    async def move_many(
        self,
        to: str,
        *,
        tags: Sequence[str] = (),
        queue: str | None = None,
        function: str | None = None,
        user: str | None = None,
        session: str | None = None,
        status: JobStatus | None = None,
        by: str | None = None,
        dry_run: bool = False,
    ) -> int:
        """Move the waiting jobs that have all this to another queue, in bounded batches.

        Returns:
            How many were moved, or would be with `dry_run`.

        Raises:
            ConfigError: Nothing is given that says which, or there is no such queue to move from.
        """
        chosen = Selection(tags=tags, queue=queue, function=function, user=user, session=session, status=status)
        return await self._do(jobs_move.move_many(self.context, chosen, to, by, dry_run=dry_run))
