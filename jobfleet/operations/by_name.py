"""Enqueue a job by the name of its function, for programs that are not written in Python.

The function must be published by a worker, the arguments must fit its published parameters, and the queue must exist.
So a misspelled name creates neither a queue nor a job that nobody can run. A job with an id of the caller stores a hash
of its request: a repetition returns the same job, and another request with that id is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobfleet.codec import header_or_empty, is_record, read_fields
from jobfleet.errors import EncodingError, IdConflict, InvalidJob, JobNotFound
from jobfleet.functions.published import check_takes, read_takes
from jobfleet.model import Job, Receipt, split_id
from jobfleet.model.names import similar_function
from jobfleet.model.option_checks import CALLBACKS
from jobfleet.model.spec import with_call, with_request
from jobfleet.operations.fleet_context import FleetContext, Published
from jobfleet.operations.flows.dependencies import check_parents, edges_of
from jobfleet.operations.jobs.enqueue import published
from jobfleet.operations.jobs.prepare import resolve_in, submission
from jobfleet.operations.lanes import no_queue, seen
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import result_of
from jobfleet.operations.submit import operation_for
from jobfleet.store.calls import inspect
from jobfleet.store.records import Dead, Final, FleetSeen, Found, InRun, InWait


def submit(context: FleetContext, job: Job, request: str) -> Operation[Receipt]:
    """Enqueue a job of a published function.

    Args:
        context: The context of the fleet.
        job: The job; it names its function.
        request: A hash of the request.

    Raises:
        IdConflict: A job has its id, and was enqueued by another request.
        InvalidJob: No worker has published the function, or it does not accept the arguments; or an option is wrong.
        UnknownQueue: There is no such queue.
        DuplicateJob: Another job holds its unique key, and the job has ``on_conflict="raise"``.
    """
    yield from _check_function(context, job)
    yield from _check_queue(context, job)
    job = _converted(context, job)
    yield from _check_rest(context, job)
    receipt = yield from operation_for(context, with_request(job, request) if job.id is not None else job)
    if receipt.created or job.id is None or split_id(receipt.id).suffix != job.suffix:
        return receipt
    return (yield from _known(context, receipt, request))


def _check_function(context: FleetContext, job: Job) -> Operation[None]:
    name = _name_of(job)
    callbacks = [option for option in CALLBACKS if getattr(job, option) is not None]
    needed = {"function": name, **{option: _name_of(getattr(job, option)) for option in callbacks}}
    fleet = yield from published(context)
    if not fleet.functions.keys() >= set(needed.values()):
        context.published = Published()  # a worker may have published it since then
        fleet = yield from published(context)
    for field, one in needed.items():
        if one not in fleet.functions:
            raise _unpublished(fleet, field, one)
    _check_takes(fleet, name, job)
    for option in callbacks:
        taken = read_takes(fleet.functions[needed[option]])
        if taken is not None:
            check_takes(needed[option], taken, (), {})


def declared(context: FleetContext, name: str) -> Operation[Mapping[str, Any]]:
    """Return the options that a function declares, as this process or the workers know it; none if nobody does."""
    function = resolve_in(context, Job(name, name))
    if function is None:
        yield from published(context)
        function = resolve_in(context, Job(name, name))
    return {} if function is None else function.options


def check_call(context: FleetContext, job: Job) -> Operation[None]:
    """Check the arguments of a job by the published parameters of its function, if a worker has published them.

    Raises:
        InvalidJob: The function does not accept the arguments.
    """
    fleet = yield from published(context)
    if _name_of(job) in fleet.functions:
        _check_takes(fleet, _name_of(job), job)


def _check_takes(fleet: FleetSeen, name: str, job: Job) -> None:
    taken = read_takes(fleet.functions[name])
    if taken is not None:
        check_takes(name, taken, tuple(job.args), job.kwargs)


def _name_of(job: Job) -> str:
    return str(getattr(job.function, "name", job.function))  # a hook may have put the function itself there


def _unpublished(fleet: FleetSeen, field: str, name: str) -> InvalidJob:
    close = similar_function(name, fleet.functions)
    remedy = f"did you mean {close!r}?" if close else "start a worker that has it, or correct the name."
    return InvalidJob(f"{field} is {name!r}, which no worker has published; {remedy}", field=field)


def _converted(context: FleetContext, job: Job) -> Job:
    """The job with its JSON as plain data, if this process knows the function and its types."""
    function = context.registry.get(_name_of(job))
    if function is None or function.typed is None:
        return job
    function.fit.check((len(job.args), *job.kwargs), job.args, job.kwargs)
    return with_call(job, *function.typed.dump(tuple(job.args), job.kwargs, may_be_json=True))


def _check_queue(context: FleetContext, job: Job) -> Operation[None]:
    """Check that the queue that a job names exists; the queue of its function is made if it does not."""
    if job.queue is None or context.has_queue(job.queue):
        return
    fleet = yield from seen(context)
    if job.queue not in fleet.queues:
        raise no_queue(job.queue, fleet.queues)


def _check_rest(context: FleetContext, job: Job) -> Operation[None]:
    """Check what an enqueue checks only after it has opened the queue of the function."""
    if (function := resolve_in(context, job)) is not None:
        submission(
            job.without_parents(), function, lambda queue, *_: context.keys.lane(queue, 0), limits=context.limits,
            windows=context.windows,
        )  # fmt: skip
    yield from check_parents(context, [edge.parent for edge in edges_of(job.depends_on or ())])


def _known(context: FleetContext, receipt: Receipt, request: str) -> Operation[Receipt]:
    """The receipt of a job that exists, if the same request has enqueued it."""
    now, (found,) = value((yield (inspect.status(context.keys.lane_of(receipt.id), [receipt.id]),)))
    if _request_of(found) != request:
        raise IdConflict(receipt.id)
    try:
        status = result_of(receipt.id, found, now, limits=context.limits).status
    except JobNotFound:  # it was forgotten a moment ago
        raise IdConflict(receipt.id) from None
    return receipt._replace(status=status)


def _request_of(found: Found) -> object:
    """The hash of the request that has enqueued a job; None if it was enqueued otherwise, or is not stored any more."""
    match found:
        case InWait() | InRun():
            return header_or_empty(found.envelope).get("request")
        case Final(body=body) | Dead(record=body) if is_record(body):
            try:
                return read_fields(body).get("request")
            except EncodingError:
                return None
        case Final():
            return header_or_empty(found.body).get("request")
    return None
