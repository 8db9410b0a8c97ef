# Made by scripts/unasync from jobfleet/client/_async/cron_verbs.py. Change that, and run scripts/unasync.
# Made by scripts/unasync from the verbs in jobfleet/operations. Change those, and run scripts/unasync.
"""Verbs of operators: `jobfleet.operations` declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobfleet.client._sync.audit import Part

if TYPE_CHECKING:
    from datetime import datetime

    from jobfleet.operations.backfill import Backfill


class CronVerbs(Part):
    """The verbs of `fleet.cron`."""

    def backfill(
        self,
        name: str,
        since: datetime,
        until: datetime,
        *,
        max_parallel: int | None = None,
        dry_run: bool = False,
        by: str | None = None,
    ) -> Backfill:
        """Run a recurring job for each planned time of an interval of the past, oldest first, as a flow.

        The times are those of the schedule as it is now, and each job has its time as `ctx.nominal_time`. A time whose job
        is still known, because it has fired or was filled before, makes no second job: replay that one. To repeat the call
        is safe: it returns the same flow.

        Args:
            name: The name.
            since: The begin of the interval. A time without an offset is in the time zone of the entry.
            until: The end of the interval, which is not part of it; at most now.
            max_parallel: How many of the jobs may run at a time; default 1 if the jobs of the entry must not overlap, and
                otherwise no bound but the slots of the workers.
            dry_run: Only show the times.
            by: The person or program that does it, for the record.

        Raises:
            InvalidJob: The interval is wrong, or has more than 1,000 times; the entry fires when workers start, or its jobs
                have a unique key.
            JobNotFound: There is no entry of that name.
            DurabilityUncertain: The durability of the jobs was not reached; it has the id of the flow.
        """
        from jobfleet.operations import backfill

        return self._act(backfill.backfill, by, name, since, until, max_parallel=max_parallel, dry_run=dry_run)

    def remove(self, name: str, *, by: str | None = None) -> None:
        """Remove a recurring job and its history, also one that cannot be read. Jobs that it enqueued stay.

        Args:
            name: The name.
            by: The person or program that does it, for the record.

        Raises:
            JobNotFound: There is no entry of that name.
            InvalidJob: A decorator declares the entry, so workers would add it again.
        """
        from jobfleet.operations import cron

        return self._act(cron.remove, by, name)

    def pause(self, name: str, *, by: str | None = None, reason: str | None = None) -> bool:
        """Pause a recurring job: it does not fire.

        Args:
            name: The name.
            by: The person or program that pauses, for the record.
            reason: The reason, for the record: one line, at most 200 characters.

        Returns:
            False if it was already paused.

        Raises:
            JobNotFound: There is no entry of that name.
            InvalidJob: The reason is not valid.
        """
        from jobfleet.operations import cron

        return self._act(cron.pause, by, name, by=by, reason=reason)

    def resume(self, name: str, *, by: str | None = None) -> bool:
        """Resume a paused recurring job. Fires that were due during the pause are skipped.

        Args:
            name: The name.
            by: The person or program that does it, for the record.

        Returns:
            False if it was not paused.

        Raises:
            JobNotFound: There is no entry of that name.
        """
        from jobfleet.operations import cron

        return self._act(cron.resume, by, name)

    def run(self, name: str, *, nominal: datetime | None = None, by: str | None = None) -> str:
        """Enqueue a recurring job now, in addition to its fires.

        Args:
            name: The name.
            nominal: The time that the job is for (`ctx.nominal_time`), such as that of a fire that failed; default now. A
                time without an offset is in the time zone of the entry.
            by: The person or program that does it, for the record.

        Returns:
            The id of the job.

        Raises:
            DuplicateJob: Another job holds its unique key.
            InvalidJob: `nominal` is not a time.
            JobNotFound: There is no entry of that name.
        """
        from jobfleet.operations import cron

        return self._act(cron.run, by, name, nominal=nominal)
