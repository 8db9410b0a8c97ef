# Made by scripts/unasync from jobfleet/client/_async/cron_verbs.py. Change that, and run scripts/unasync.
# Made by scripts/unasync from the verbs in jobfleet/operations. Change those, and run scripts/unasync.
"""Verbs of operators: `jobfleet.operations` declares them."""

from __future__ import annotations

from jobfleet.client._sync.audit import Part


class CronVerbs(Part):
    """The verbs of `fleet.cron`."""

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

    def pause(self, name: str, *, by: str | None = None) -> bool:
        """Pause a recurring job: it does not fire.

        Args:
            name: The name.
            by: The person or program that does it, for the record.

        Returns:
            False if it was already paused.

        Raises:
            JobNotFound: There is no entry of that name.
        """
        from jobfleet.operations import cron

        return self._act(cron.pause, by, name, by=by)

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

    def run(self, name: str, *, by: str | None = None) -> str:
        """Enqueue a recurring job now, in addition to its fires.

        Args:
            name: The name.
            by: The person or program that does it, for the record.

        Returns:
            The id of the job.

        Raises:
            DuplicateJob: Another job holds its unique key.
            JobNotFound: There is no entry of that name.
        """
        from jobfleet.operations import cron

        return self._act(cron.run, by, name)
