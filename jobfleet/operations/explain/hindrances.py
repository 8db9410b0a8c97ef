"""What hinders jobs: no live worker serves their queue, knows their function, or does both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobfleet.model import JobResult
from jobfleet.operations.explain.unknown import known_elsewhere, unknown
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.workers.info import workers_of
from jobfleet.store.records import FleetSeen, KindsSeen

READ_MOST = 1000
"""Jobs whose functions are read."""


def hindrances(context: FleetContext, ids: Sequence[str]) -> Operation[list[str]]:
    """Return one sentence per queue that no live worker serves, and per function that none knows or has there.

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
    pairs = {(job.function, job.queue): job.id for job in reversed(waiting) if job.function}
    for (function, queue), job_id in pairs.items():
        other = known_elsewhere(function, queue, kinds.kinds, workers)
        if other is not None:
            text = f"No live worker both knows {function!r} and serves the queue {queue!r}: "
            found.append(text + other.remedy(job_id, queue))
    return found


def misplaced(context: FleetContext, jobs: Sequence[JobResult[Any]]) -> Operation[dict[str, str]]:
    """Return a short note for each waiting job whose function is known only to workers of other queues.

    Args:
        context: The context of the fleet.
        jobs: The jobs. If none waits, nothing is read.
    """
    waiting = [job for job in jobs if job.status.is_waiting and job.function and not job.parked_since]
    if not waiting:
        return {}
    answers = yield (context.fleet_call(), context.kinds_call())
    fleet: FleetSeen = value(answers[:1])
    kinds: KindsSeen = value(answers[1:])
    workers = workers_of(context, fleet)
    pairs = {
        pair: known_elsewhere(*pair, kinds.kinds, workers)
        for pair in dict.fromkeys((job.function, job.queue) for job in waiting)
    }
    return {
        job.id: f"no worker of {job.queue} knows it" + (f"; those of {found.queue} do" if found.queue else "")
        for job in waiting
        if (found := pairs[job.function, job.queue]) is not None
    }
