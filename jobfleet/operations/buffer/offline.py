"""Prepare a job while Redis is unavailable, with what this process has read before. Pure."""

from __future__ import annotations

from jobfleet.errors import StoreUnavailable
from jobfleet.model import Job
from jobfleet.model.option_types import FAST
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.enqueue import check_times
from jobfleet.operations.jobs.prepare import (
    Resolved,
    Submission,
    asks_for_callbacks,
    has_callbacks,
    lane_index,
    resolve_in,
    submission,
)
from jobfleet.store.keys import Lane

UNCONFIRMED = "the server must confirm its durability"


class NotBuffered(StoreUnavailable):
    """Redis is unavailable, and this job cannot be kept in the local buffer."""


def not_buffered(job: Job, reason: StoreUnavailable, why: str) -> NotBuffered:
    """Make the error of a job that cannot be kept; it says why Redis is unavailable, and why the job is not kept."""
    return NotBuffered(f"{reason} {job.name!r} was not kept in the local buffer, because {why}.")


def needs_redis(context: FleetContext, job: Job) -> str:
    """Why a job can only be enqueued by Redis itself; empty if it can be kept in the buffer."""
    if job.cron_expression is not None:
        return "a recurring job is an entry in Redis"
    if job.depends_on is not None:
        return "Redis must know the jobs that it waits for"
    return "it has callbacks" if asks_for_callbacks(context, job) else ""


def prepare_offline(context: FleetContext, job: Job, reason: StoreUnavailable) -> Submission:
    """Prepare a job with the queues and functions that this process has read before, however long ago.

    Args:
        context: The context of the fleet.
        job: The job.
        reason: Why Redis is unavailable, for the error.

    Raises:
        NotBuffered: The job needs a read from Redis.
        InvalidJob: An option is wrong.
        EncodingError: An argument, or metadata, cannot travel.
    """
    check_times(job)
    if why := needs_redis(context, job):
        raise not_buffered(job, reason, why)
    function = resolve_in(context, job)
    if function is None:
        if context.published.fleet is None:
            why = "this process knows only the name of its function, and has not read its queue and options yet"
            raise not_buffered(job, reason, why)
        function = Resolved(str(job.function), {})
    if has_callbacks(job, function.options):
        raise not_buffered(job, reason, "it has callbacks")

    def lane_for(queue: str, job: Job, key: str | None = None, group: str | None = None) -> Lane:
        known = context.queues.get(queue)
        if known is not None:
            return context.keys.lane(queue, lane_index(job, queue, known.home, known.total, key, group))
        if key is None and group is None and job.id is None:
            return context.keys.lane(queue, 0)  # every queue has this lane
        named = "unique key" if key is not None else "group" if group is not None else "id"
        why = f"its {named} decides on its lane, and this process has not read the lanes of queue {queue!r} yet"
        raise not_buffered(job, reason, why)

    made = submission(job, function, lane_for, limits=context.limits, windows=context.windows, levels=context.levels)
    # Until a queue has been read, the durability of the fleet is the one that its jobs get.
    own = job.durability or function.options.get("durability")
    is_known = made.lane.queue in context.queues or context.ignores_levels
    if made.level or (own is None and not is_known and context.config.durability != FAST):
        raise not_buffered(job, reason, UNCONFIRMED)
    return made
