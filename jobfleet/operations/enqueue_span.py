"""The span of an enqueue, if the registry of the fleet has a tracer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from jobfleet.errors import InvalidJob
from jobfleet.functions.port import EnqueueFacts, SendSpan
from jobfleet.model import Job, Receipt
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.prepare import Resolved, queue_of, resolve_in


class _NoSpan:
    """The span of an enqueue without a tracer."""

    def answered(self, receipts: Sequence[Receipt]) -> None:
        """Nobody asks."""


_NONE = nullcontext[SendSpan](_NoSpan())


def enqueue_span(context: FleetContext, jobs: Sequence[Job], flow: str = "") -> AbstractContextManager[SendSpan]:
    """Return the span of an enqueue of these jobs; it is current within its block.

    Args:
        context: The context of the fleet.
        jobs: The jobs.
        flow: The id of their flow; empty if they are not of one.
    """
    tracer = context.registry.hooks.tracer
    if tracer is None:
        return _NONE
    places = {_place(context, job) for job in jobs}
    queues, functions = {queue for queue, _ in places}, {function for _, function in places}
    return tracer.sending(
        EnqueueFacts(
            queue=queues.pop() if len(queues) == 1 else "",
            function=functions.pop() if len(functions) == 1 else "",
            jobs=len(jobs),
            flow=flow,
        )
    )


def _place(context: FleetContext, job: object) -> tuple[str, str]:
    """The queue and the function of a job; both are empty for what the enqueue is about to refuse."""
    if not isinstance(job, Job):
        return "", ""
    try:
        function = resolve_in(context, job) or Resolved(str(job.function), {})
    except InvalidJob:
        return "", ""
    return queue_of(job, function), function.name
