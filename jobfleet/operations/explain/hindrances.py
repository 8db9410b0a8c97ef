"""What hinders jobs for which a caller waits: no live worker serves their queue, or knows their function."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.operations.explain.unknown import unknown
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.workers.info import workers_of
from jobfleet.store.records import FleetSeen, KindsSeen

READ_MOST = 1000
"""Jobs whose functions are read."""


def hindrances(context: FleetContext, ids: Sequence[str]) -> Operation[list[str]]:
    """Return one sentence per queue that no live worker serves, and per function that none knows.

    Args:
        context: The context of the fleet.
        ids: The ids of open jobs. Of the first `READ_MOST` the functions are read.
    """
    answers = yield (context.fleet_call(), context.kinds_call())
    fleet: FleetSeen = value(answers[:1])
    kinds: KindsSeen = value(answers[1:])
    workers = workers_of(context, fleet)
    served = {queue for worker in workers if not worker.is_gone for queue in worker.queues}
    queues = dict.fromkeys(context.keys.lane_of(job_id).queue for job_id in ids)
    found = [
        f"No live worker serves the queue {queue!r}; start one: 'jobfleet worker MODULE -Q {queue}'."
        for queue in queues
        if queue not in served
    ]
    jobs = yield from poll_many(context, ids[:READ_MOST])
    waiting = [job for job in jobs if job is not None and job.status.is_waiting and job.queue in served]
    for function in dict.fromkeys(job.function for job in waiting if job.function):
        lacking = unknown(function, fleet.functions, kinds.kinds, workers)
        if lacking is not None:
            remedy = "Start a worker with its module, or restart those that run an older one."
            found.append(lacking.text if function in fleet.functions else f"{lacking.text} {remedy}")
    return found
