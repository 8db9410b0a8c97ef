"""What hinders jobs: no live worker serves their queue, knows their function, or does both; how reasons are worded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from jobfleet.functions.callables import BUILT_IN
from jobfleet.model import JobResult
from jobfleet.model.names import similar_function
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.workers import WorkerInfo, runs_undecorated, workers_of
from jobfleet.store.records import FleetSeen, KindSeen, KindsSeen

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


class UnknownFunction(NamedTuple):
    """A function that no live worker knows.

    Attributes:
        text: What is wrong.
        meant: The function that was probably meant; None when none resembles it.
    """

    text: str
    meant: str | None = None


class Elsewhere(NamedTuple):
    """A function that live workers know, none of which serves the queue of a job.

    Attributes:
        workers: One worker per kind that knows the function.
        queue: A queue that one of them serves; empty if none of them serves any.
    """

    workers: list[str]
    queue: str

    def remedy(self, job_id: str, queue: str) -> str:
        """What can be done about a job in `queue`."""
        start = f"start a worker with its module and '-Q {queue}'."
        move = f"'jobfleet move {job_id} --to {self.queue}' moves the job; or "
        return f"{move}{start}" if self.queue else f"{start[0].upper()}{start[1:]}"


def known_elsewhere(
    function: str, queue: str, kinds: Iterable[KindSeen], workers: Sequence[WorkerInfo]
) -> Elsewhere | None:
    """Return the workers that know a function if none of them serves a queue, though others do; else None.

    Args:
        function: The name of the function.
        queue: The queue of a job.
        kinds: The kinds of live workers.
        workers: The workers whose heartbeat is remembered.
    """
    knowers = [kind for kind in kinds if function in kind.functions]
    if not knowers or any(queue in _queues(kind) for kind in knowers):
        return None
    serving = [worker for worker in workers if not worker.is_gone and queue in worker.queues]
    if not serving or not all(worker.kinds for worker in serving) or runs_undecorated(serving, function):
        return None  # an earlier version does not report its functions
    own = [kind.functions[function] for kind in knowers if kind.functions[function] in _queues(kind)]
    served = [name for kind in knowers for name in _queues(kind)]
    return Elsewhere([kind.worker for kind in knowers], next(iter([*own, *served]), ""))


def _queues(kind: KindSeen) -> list[str]:
    return kind.functions.get("", "").split()


def unknown(
    function: str, published: Collection[str], kinds: Iterable[KindSeen], workers: Sequence[WorkerInfo]
) -> UnknownFunction | None:
    """Say that no live worker knows a function; None if one knows it, or may know it.

    Args:
        function: The name of the function.
        published: The functions that workers have published, also those that have left.
        kinds: The kinds of live workers.
        workers: The workers whose heartbeat is remembered.
    """
    if function in BUILT_IN or any(function in kind.functions for kind in kinds):
        return None  # every worker knows the cleanup function, and none publishes it
    if runs_undecorated(workers, function):
        return None
    if function not in published:
        meant = similar_function(function, published)
        text = f"No worker has published {function!r}{did_you_mean(meant)} The job is parked until one does."
        return UnknownFunction(text, meant)
    alive = [worker for worker in workers if not worker.is_gone]
    if not alive or not all(worker.kinds for worker in alive):  # an earlier version does not report its functions
        return None
    return UnknownFunction(
        f"No live worker knows {function!r}; one that has left did: start a worker with its module. "
        "The job is parked until one knows it."
    )


NAMED_WORKERS = 5


def asked_by(who: str | None) -> str:
    """The phrase for the author; empty for nobody in particular."""
    return f" by {who}" if who and who != "-" else ""


def because(reason: str) -> str:
    """The phrase for the reason of a pause; empty when none was given."""
    return f" ({reason.removesuffix('.')})" if reason else ""


def did_you_mean(name: str | None) -> str:
    """The end of a sentence about an unknown name; a full stop when no name resembles it."""
    return f"; did you mean {name!r}?" if name else "."


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED_WORKERS
    return ", ".join(names[:NAMED_WORKERS]) + (f" and {more} more" if more > 0 else "")
