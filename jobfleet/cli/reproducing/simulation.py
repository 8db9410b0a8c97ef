"""Enqueues that are prepared as always, and printed instead of sent."""

from __future__ import annotations

from typing import NamedTuple

from jobfleet.cli.output import plain, say
from jobfleet.errors import InvalidJob, JobfleetError, JobNotFound
from jobfleet.model import Job, JobStatus, Receipt
from jobfleet.model.flow import Flow, refuse_times
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import refuse_unique
from jobfleet.operations.flows.info import FlowInfo
from jobfleet.operations.flows.label import labelled
from jobfleet.operations.flows.record import FlowJob
from jobfleet.operations.jobs.enqueue import receipt
from jobfleet.operations.jobs.prepare import Resolved, Submission, queue_of, resolve_in, submission_in


class Prepared(NamedTuple):
    """A job as it would be sent.

    Attributes:
        job: The job, as the hooks before an enqueue have left it.
        function: The name of its function.
        sent: What would be sent.
    """

    job: Job
    function: str
    sent: Submission


def simulated(context: FleetContext, job: Job) -> Receipt:
    """Prepare a job as an enqueue does, and print its id.

    Raises:
        InvalidJob: An option is wrong, or the function does not accept the arguments.
        EncodingError: An argument cannot be encoded.
    """
    prepared = _prepared(context, job)
    _tell(prepared)
    return receipt(prepared.sent, created=True)


def simulated_one_of_many(context: FleetContext, job: Job) -> Receipt:
    """Like `simulated`; the receipt of a job that is refused has the error.

    Raises:
        InvalidJob: It is not a `Job`.
    """
    try:
        return simulated(context, job)
    except JobfleetError as error:
        if not isinstance(job, Job):  # a receipt is for a job
            raise
        return Receipt(job.suffix, created=False, status=JobStatus.QUEUED, error=error)


def simulated_value(context: FleetContext, job: Job) -> Exception:
    """Like `simulated`; return the error that `map` has in the place of a value."""
    answer = simulated_one_of_many(context, job)
    return answer.error or JobNotFound(answer.id, f"{answer.id} was simulated: nobody runs it, so it has no value.")


def simulated_flow(context: FleetContext, flow: Flow) -> FlowInfo:
    """Prepare the jobs of a flow, and print their ids.

    Raises:
        InvalidJob: The flow is empty, too large, or has a cycle, or one of its jobs is wrong. Nothing is printed.
        EncodingError: An argument cannot be encoded. Nothing is printed.
    """
    if not isinstance(flow, Flow):
        raise InvalidJob(f"flow is {flow!r:.100}; give a Flow.", field="flow")
    order = flow.order()
    places = {node.number: place for place, node in enumerate(order)}
    made = [_prepared(context, node.job) for node in order]
    rows = []
    for node, (job, function, sent) in zip(order, made, strict=True):
        refuse_unique(job, "jobs of a flow")
        refuse_times(job)
        links = flow.links.get(node.number, {})
        parents = tuple(places[number] for number in links)
        otherwise = tuple(link.otherwise for link in links.values())
        rows.append(FlowJob(sent.entry.id, job.name, function, parents, otherwise, sent.entry.band))
    for one in made:
        _tell(one)
    return FlowInfo(flow.id, flow.name, None, tuple(labelled(rows, [one.job for one in made])), is_read=False)


def _prepared(context: FleetContext, job: Job) -> Prepared:
    job = context.apply_hooks(job)
    function = resolve_in(context, job) or Resolved(str(job.function), {})
    context.remember(queue_of(job, function), (1, 1))  # nobody reads how many lanes it has
    return Prepared(job, function.name, submission_in(context, job, function))


def _tell(prepared: Prepared) -> None:
    say(f"simulated: {plain(prepared.function)} enqueued as {prepared.sent.entry.id}")
