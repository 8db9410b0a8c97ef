"""Whether a live worker knows a function. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from jobfleet.functions.naming import CLEANUP
from jobfleet.model.similar import similar_function
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
    if function == CLEANUP or any(function in kind.functions for kind in kinds):
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
