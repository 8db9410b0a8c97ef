# Made by scripts/unasync from jobfleet/client/_async/cron.py. Change that, and run scripts/unasync.
"""Recurring jobs of a fleet: `fleet.cron`."""

from __future__ import annotations

from jobfleet.client._sync.cron_verbs import CronVerbs
from jobfleet.cron import Cron
from jobfleet.model import Job
from jobfleet.operations import cron as entries
from jobfleet.operations.cron import CronInfo
from jobfleet.operations.fires import CronFire


def cron_of(cron: Cron | str, tz: str | None) -> Cron:
    """Return a `Cron`, built from the expression if one was given."""
    return cron if isinstance(cron, Cron) else Cron(cron, tz or "UTC")


class CronEntries(CronVerbs):
    """The recurring jobs of an `Fleet`."""

    def __call__(self, *, limit: int | None = None, after: str = "") -> list[CronInfo]:
        """Return the recurring jobs, by name.

        Args:
            limit: The most recurring jobs to return; default all of them, of which a fleet has at most 10,000.
            after: Only recurring jobs whose names come after this one.

        Raises:
            InvalidJob: `limit` is not a whole number from 1.
        """
        return self._do(entries.listing(self._context, limit=limit, after=after))

    def add(
        self,
        name: str,
        cron: Cron | str,
        job: Job,
        *,
        tz: str | None = None,
        by: str | None = None,
        replace: bool = False,
    ) -> str:
        """Add a recurring job under a name. Return ``added``, ``changed`` or ``unchanged``.

        The `around_enqueue` hooks run once, now. Each fire enqueues the job as it is after them.

        Args:
            name: The name.
            cron: The schedule: a `Cron`, or a cron expression.
            job: The job that each fire enqueues.
            tz: The time zone of the expression; default UTC.
            by: The person or program that adds it, for the record.
            replace: Whether to replace an entry of the same name.

        Raises:
            InvalidJob: A field is not valid, or the name is taken.
        """
        planned = cron_of(cron, tz)
        work = entries.add(self._context, name, planned, job, by=by, is_new=not replace)
        action = entries.setting(self._context, "add", name, planned, job)
        return self._audited(action, work, by)

    def get(self, name: str) -> CronInfo:
        """Return one recurring job.

        Raises:
            JobNotFound: There is no entry of that name.
        """
        return self._do(entries.get(self._context, name))

    def edit(self, name: str, cron: Cron | str, *, tz: str | None = None, by: str | None = None) -> str:
        """Give a recurring job another schedule, and keep its job. Return ``changed`` or ``unchanged``.

        Args:
            name: The name.
            cron: The schedule: a `Cron`, or a cron expression.
            tz: The time zone of the expression; default UTC.
            by: The person or program that edits it, for the record.

        Raises:
            JobNotFound: There is no entry of that name.
            InvalidJob: A field is not valid, or a decorator declares the entry, so workers would set it again.
        """
        planned = cron_of(cron, tz)
        action = entries.setting(self._context, "edit", name, planned)
        return self._audited(action, entries.edit(self._context, name, planned), by)

    def history(self, name: str, *, limit: int = entries.HISTORY) -> list[CronFire]:
        """Return the last fires of an entry and what came of their jobs, newest first.

        Args:
            name: The name of the entry.
            limit: The most fires to return; default 50. The last 1,000 are kept.

        Raises:
            InvalidJob: `limit` is not a whole number from 0.
            JobNotFound: There is no entry of that name.
        """
        return self._do(entries.history(self._context, name, limit=limit))
