# Made by scripts/unasync from jobfleet/client/_async/operate.py. Change that, and run scripts/unasync.
"""Operations that change the fleet: queues, workers and open jobs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

from jobfleet.client._sync.fleet_verbs import FleetVerbs
from jobfleet.model import JobId, Priority
from jobfleet.model.option_types import Seconds

if TYPE_CHECKING:
    from jobfleet.operations.jobs.matching import JobFilters


T = TypeVar("T")


class Operate(FleetVerbs):
    """Operations of a client that change queues, workers and open jobs."""

    def cancel_many(self, *, by: str | None = None, **filters: Unpack[JobFilters]) -> int:
        """Cancel the open jobs that match all given filters, in bounded batches.

        With tags, a user or a session only their index is read; otherwise every open job is.

        Returns:
            How many were cancelled or asked to stop.

        Args:
            by: The person or program that cancels, for the record.
            filters: Which jobs; see `JobFilters`: `tags`, `queue`, `function`, `user`, `session`, `status`, `group`,
                `since`, `until`.

        Raises:
            ConfigError: No filter is given, or there is no such queue.
            InvalidJob: A filter has a wrong value.
        """
        from jobfleet.operations.jobs.matching import cancel_many

        return self._act(cancel_many, by, by, **filters)

    def count_open(self, **filters: Unpack[JobFilters]) -> int:
        """Count the open jobs that `cancel_many` would cancel now. The filters and the errors are the same."""
        from jobfleet.operations.jobs.matching import Selection, count_open

        return self._do(count_open(self.context, Selection(**filters)))

    def reschedule(
        self,
        job_id: str,
        *,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | None = None,
        by: str | None = None,
    ) -> bool:
        """Change the due time, the priority, or both, of a waiting job. Return False if it runs or has ended.

        Args:
            job_id: The job.
            at: The new due time; a naive time is in this machine's local zone.
            delay: The new due time in seconds from now, by Redis's clock.
            priority: The new priority.
            by: The person or program that reschedules, for the record.

        Raises:
            JobNotFound: The job is unknown.
            InvalidJob: No change is given, or a value is not valid.
        """
        from jobfleet.operations.jobs import steer

        return self._act(steer.reschedule, by, job_id, at=at, delay=delay, priority=priority, by=by)

    def reschedule_many(
        self,
        *,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | None = None,
        by: str | None = None,
        dry_run: bool = False,
        **filters: Unpack[JobFilters],
    ) -> int:
        """Reschedule the waiting jobs that match all given filters, in bounded batches.

        With tags, a user or a session only their index is read; otherwise every waiting job is, 50 at once, while
        other jobs are enqueued and claimed. A `delay` counts from the start of the call.

        Returns:
            How many were rescheduled, or would be with `dry_run`.

        Args:
            at: The new due time; a naive time is in this machine's local zone.
            delay: The new due time in seconds from now, by Redis's clock.
            priority: The new priority.
            by: The person or program that reschedules, for the record.
            dry_run: Whether the jobs are only counted.
            filters: Which jobs; see `JobFilters`: `tags`, `queue`, `function`, `user`, `session`, `status`, `group`,
                `since`, `until`.

        Raises:
            InvalidJob: No change is given, or a value is not valid.
            ConfigError: No filter is given, or there is no such queue.
        """
        from jobfleet.operations.jobs import steer

        return self._act(
            steer.reschedule_many, by, at=at, delay=delay, priority=priority, by=by, dry_run=dry_run, **filters
        )

    @overload
    def move(self, job_id: JobId[T], queue: str, *, by: str | None = None) -> JobId[T]: ...
    @overload
    def move(self, job_id: str, queue: str, *, by: str | None = None) -> str: ...
    def move(self, job_id: str, queue: str, *, by: str | None = None) -> str:
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

        return self._act(steer.move, by, job_id, queue, by)

    def move_many(
        self,
        to: str,
        *,
        by: str | None = None,
        dry_run: bool = False,
        **filters: Unpack[JobFilters],
    ) -> int:
        """Move the waiting jobs that match all given filters to another queue, in bounded batches.

        Returns:
            How many were moved, or would be with `dry_run`.

        Args:
            to: The queue that the jobs move to.
            by: The person or program that moves the jobs, for the record.
            dry_run: Whether the jobs are only counted.
            filters: Which jobs; see `JobFilters`: `tags`, `queue`, `function`, `user`, `session`, `status`, `group`,
                `since`, `until`.

        Raises:
            ConfigError: No filter is given, or there is no such queue to move from.
            InvalidJob: A filter has a wrong value, or `to` is not the name of a queue.
        """
        from jobfleet.operations.jobs import steer

        return self._act(steer.move_many, by, to, by=by, dry_run=dry_run, **filters)
