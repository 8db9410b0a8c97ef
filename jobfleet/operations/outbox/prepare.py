"""Prepare a job for a row of the outbox, with what this process knows. Pure: the writer needs no Redis."""

from __future__ import annotations

from jobfleet.codec import amended
from jobfleet.errors import InvalidJob
from jobfleet.functions.callables import BUILT_IN
from jobfleet.model import Job
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import edges_of, parents_in_header, refuse_displacing
from jobfleet.operations.jobs.enqueue import check_times
from jobfleet.operations.jobs.prepare import Resolved, has_callbacks, lane_index, resolve_in, submission
from jobfleet.operations.outbox.packed import Order
from jobfleet.store.keys import Lane


def order_for(context: FleetContext, job: Job) -> Order:
    """Check a job as an enqueue does, and prepare it.

    The lane follows from the lanes of the queue, if this process has read them, else from the setting `lanes`. The
    relay refuses a row whose lane is wrong.

    Args:
        context: The context of the fleet.
        job: The job; the hooks `around_enqueue` have changed it already.

    Raises:
        InvalidJob: An option is wrong, or is not for the outbox.
        EncodingError: An argument, or metadata, cannot travel, or is too large.
    """
    check_times(job)
    if job.cron_expression is not None:
        raise InvalidJob(
            "cron_expression is not for the outbox, because a recurring job is an entry in Redis; add it with "
            "fleet.enqueue or fleet.cron.",
            field="cron_expression",
        )
    function = _function_of(context, job)
    if has_callbacks(job, function.options):
        raise InvalidJob(
            "on_success and on_failure are not for the outbox; write the callback as a second job of the same "
            "transaction, with depends_on.",
            field="on_success" if job.on_success is not None else "on_failure",
        )
    edges = edges_of(job.depends_on or ())
    place = ""

    def lane_for(queue: str, job: Job, key: str | None = None, group: str | None = None) -> Lane:
        nonlocal place
        known = context.queues.get(queue)
        home, total = (known.home, known.total) if known is not None else (context.config.lanes.get(queue, 1),) * 2
        own = job.id if job.id == job.suffix else None  # a whole id names its lane
        place = next((text for text in (group, key, own) if text is not None), "")
        return context.keys.lane(queue, lane_index(job, queue, home, total, key, group))

    own = context.config.own_id_window  # the relay may enqueue the id again after an outage
    made = submission(
        job.without_parents() if edges else job, function, lane_for, limits=context.limits, windows=(own, own)
    )
    if edges:
        if made.unique is not None:
            refuse_displacing(made.unique.on_conflict, "a job that waits for others")
        envelope = amended(made.entry.envelope, parents_in_header(context.keys, edges))
        made = made._replace(entry=made.entry._replace(envelope=envelope))
    return Order(made, place, edges)


def _function_of(context: FleetContext, job: Job) -> Resolved:
    function = resolve_in(context, job)
    if function is not None:
        return function
    if job.queue is None and job.function not in BUILT_IN:
        raise InvalidJob(
            f"function is {str(job.function)!r}, of which this process knows only the name; import its module, or give "
            "queue: then the options of the job alone decide on its enqueue.",
            field="function",
        )
    return Resolved(str(job.function), {})
