# Made by scripts/unasync from jobfleet/client/_async/operate.py. Change that, and run scripts/unasync.
"""How a client changes the fleet: queues, workers, and jobs that are open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobfleet.client._sync.connection import Connection
from jobfleet.model import JobStatus, Priority
from jobfleet.model.options import Seconds
from jobfleet.operations.jobs import cancel, overview
from jobfleet.operations.jobs import move as jobs_move
from jobfleet.operations.jobs import reschedule as jobs_reschedule
from jobfleet.operations.jobs.selection import Selection, cancel_many, count_open
from jobfleet.operations.queues import pause as queues_pause
from jobfleet.operations.queues import remove
from jobfleet.operations.workers import commands


class Operate(Connection):
    """How a client changes queues, workers and open jobs."""

    def command_workers(
        self,
        ids: Sequence[str],
        command: str,
        *,
        processes: int | None = None,
        grace: float | None = None,
        timeout: float = 10.0,
        by: str | None = None,
    ) -> list[commands.Confirmation]:
        """Have workers do something, and wait until their presence shows that they did; how each stands.

        Args:
            ids: The workers.
            command: ``quiet``, ``resume``, ``stop``, ``scale`` or ``dump``.
            processes: How many children each is to have, for ``scale``.
            grace: Seconds that running jobs may take to end, for ``stop``; default what each was started with.
            timeout: Seconds to wait; who has not confirmed by then may still do so.
            by: Who wants it, for the record.

        Raises:
            ConfigError: There is no such command, or it lacks its number.
        """
        order = commands.Order(ids, command, processes=processes, grace=grace, timeout=timeout, by=by)
        while True:
            confirmations = self._do(order.turn(self.context))
            if order.is_over:
                return confirmations
            self._sleep(order.pause)

    def pause(
        self,
        queue: str | None = None,
        *,
        group: str | None = None,
        function: str | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """Let no job of a queue, a group or a function be started; running ones go on. False when it was so already.

        Args:
            queue: The queue; with a group or a function, only there.
            group: A group of that queue.
            function: A function's name on the wire; without a queue, in every queue that there is.
            by: Who asks, for the record.
            reason: Why, for the record: one line, at most 200 characters.

        Raises:
            ConfigError: Nothing is named, what is named cannot be paused together, or there is no such queue.
            InvalidJob: That is no name of a function or a group, or no such reason.
        """
        return self._do(queues_pause.pause(self.context, queues_pause.Place(queue, group, function), by, reason))

    def resume(self, queue: str | None = None, *, group: str | None = None, function: str | None = None) -> bool:
        """Let a paused queue go on, or a group or a function; False when it was not paused.

        The jobs of a function that were set aside are put back where they stood. Repeating the call is safe.

        Args:
            queue: The queue; with a group or a function, only there.
            group: A group of that queue.
            function: A function's name on the wire; without a queue, in every queue that there is.

        Raises:
            ConfigError: Nothing is named, what is named cannot be resumed together, or there is no such queue.
            InvalidJob: That is no name of a function or a group.
        """
        return self._do(queues_pause.resume(self.context, queues_pause.Place(queue, group, function)))

    def purge_queue(self, queue: str, *, by: str | None = None) -> int:
        """Cancel every waiting job of a queue; how many there were."""
        return self._do(cancel.purge_queue(self.context, queue, by))

    def remove_queue(self, queue: str, *, purge: bool = False, by: str | None = None) -> int:
        """Remove a queue that nobody serves and in which nothing is open; how many dead letters went with it.

        Its counts, limits and pauses go, too. Results stay until their time is over. Whoever enqueues into it later
        makes it again.

        Args:
            queue: Its name.
            purge: Cancel the jobs that wait, and let dead letters go; else either keeps the queue.
            by: Who asks.

        Raises:
            ConfigError: There is no such queue; a worker serves it; jobs are open, or dead without `purge`; a cron
                entry puts jobs there; readers of its journal have not read all.
            InvalidJob: That is no name of a queue.
        """
        return self._do(remove.remove_queue(self.context, queue, purge=purge, by=by))

    def clean(self, older_than: float, queue: str | None = None) -> int:
        """Let go the results of jobs that ended longer ago than so many seconds; of how many.

        Results go by themselves with their TTL; this is for those who want them gone sooner. An id stays known for
        as long as its enqueue may be repeated (the settings ``dedupe_window`` and ``own_id_window``), and dead
        letters stay until they are purged.
        """
        return self._do(overview.clean(self.context, older_than, queue))

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
