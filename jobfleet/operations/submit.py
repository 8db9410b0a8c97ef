"""Choose the operation that a job asks for: a plain enqueue, a recurring entry, or a wait for other jobs."""

from __future__ import annotations

from jobfleet.model import Job, Receipt
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.enqueue import submit
from jobfleet.operations.jobs.prepare import asks_for_callbacks
from jobfleet.operations.operation import Operation


def operation_for(context: FleetContext, job: Job) -> Operation[Receipt]:
    """The operation for a job: add a recurring entry, enqueue it behind other jobs, or enqueue it plainly."""
    if job.cron_expression is None and asks_for_callbacks(context, job):
        from jobfleet.operations.flows import callback_enqueue

        return callback_enqueue.submit(context, job)
    if job.depends_on is not None:
        from jobfleet.operations.flows import dependencies

        return dependencies.submit(context, job)
    if job.cron_expression is None:
        return submit(context, job)
    from jobfleet.operations.cron import entries  # croniter is for those who use it

    return entries.submit(context, job)
