"""Whether a live worker knows a function and serves its queue. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from jobfleet.functions.callables import BUILT_IN
from jobfleet.model.option_checks import similar_function
from jobfleet.operations.explain.reasons import did_you_mean
from jobfleet.operations.workers.info import WorkerInfo, runs_undecorated
from jobfleet.store.records import KindSeen


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
