# Made by scripts/unasync from jobfleet/client/_async/cron.py. Change that, and run scripts/unasync.
"""Recurring jobs as a fleet offers them: `fleet.cron`."""

from __future__ import annotations

from jobfleet.cron import Cron
from jobfleet.model import Job
from jobfleet.operations import cron as operations
from jobfleet.operations.cron import CronFire, CronInfo
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Driver


def cron_of(cron: Cron | str, tz: str | None) -> Cron:
    """A `Cron`, from an expression where that is what was given."""
    return cron if isinstance(cron, Cron) else Cron(cron, tz or "UTC")


class CronEntries:
    """The recurring jobs of an `Fleet`.

    Args:
        space: The fleet's names and settings.
        do: Runs an operation.
    """

    def __init__(self, context: FleetContext, do: Driver) -> None:
        self._context = context
        self._do = do

    def __call__(self) -> list[CronInfo]:
        """All recurring jobs, by name."""
        return self._do(operations.listing(self._context))

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
        """Keep a recurring job under a name; answer what that made of it: added, changed or unchanged.

        The job passes what stands around enqueues now, once; each fire enqueues it as it is then.

        Args:
            name: The name.
            cron: When: a `Cron`, or an expression.
            job: What each fire enqueues.
            tz: The time zone of an expression.
            by: Who asks.
            replace: Put it in the place of another of that name.

        Raises:
            InvalidJob: A field is wrong, or the name is taken.
        """
        work = operations.add(self._context, name, cron_of(cron, tz), job, by=by, is_new=not replace)
        return self._do(work)

    def remove(self, name: str) -> None:
        """Let a recurring job go, with its history; jobs that were enqueued stay.

        Raises:
            JobNotFound: There is none of that name.
            InvalidJob: It stands at a decorator, and would come back.
        """
        self._do(operations.remove(self._context, name))

    def pause(self, name: str, *, by: str | None = None) -> bool:
        """Let it not fire; False when it was paused already. Raises `JobNotFound`."""
        return self._do(operations.pause(self._context, name, by))

    def resume(self, name: str) -> bool:
        """Let it fire again; what was planned meanwhile does not. False when it was not paused."""
        return self._do(operations.resume(self._context, name))

    def run(self, name: str) -> str:
        """Enqueue its job at once, beside its fires; answer the job's id. Raises `JobNotFound`."""
        return self._do(operations.run(self._context, name))

    def history(self, name: str, *, limit: int = operations.HISTORY) -> list[CronFire]:
        """What became of its last fires, the newest first. Raises `JobNotFound`."""
        return self._do(operations.history(self._context, name, limit=limit))
