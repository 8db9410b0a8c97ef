"""Prepare the callbacks of a job: jobs that wait for it, and run if it completes, or if it fails or expires.

A callback is an ordinary job with one parent, so it is started by the same relay as any dependant, once, also if the
process that ended the parent dies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from jobfleet.clock import wall_us
from jobfleet.codec import amended
from jobfleet.functions.callables import UNDO
from jobfleet.functions.port import trace_of, with_trace
from jobfleet.model import Job, derived_suffix
from jobfleet.model.flow import refuse_times
from jobfleet.model.option_checks import CALLBACKS
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import Dependant, parents_in_header, refuse_unique, submit_prepared
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.jobs.prepare import has_callbacks, resolve
from jobfleet.operations.operation import Operation
from jobfleet.store.calls.flow import Edge

POLICIES = {"on_success": "~s", "on_failure": "~f"}
UNDO_RETRIES = 20
"""Retries of a job that undoes steps: more than a day and a half with the default delays."""
_set = object.__setattr__


def prepare_callbacks(
    context: FleetContext, job: Job, job_id: str, header: Mapping[str, object]
) -> Operation[dict[str, Dependant]]:
    """Prepare the callbacks of a job and of its function, by the names of their options.

    Args:
        context: The context of the fleet.
        job: The job.
        job_id: Its id.
        header: Further fields of the headers of the callbacks.

    Raises:
        InvalidJob: A callback has a unique key, waits for other jobs, or recurs.
        EncodingError: An argument cannot travel.
    """
    function = resolve(job, context.registry)
    options = function.options if function is not None else {}
    made: dict[str, Dependant] = {}
    if not has_callbacks(job, options):
        return made
    for option in CALLBACKS:
        given = getattr(job, option)
        given = options.get(option) if given is None else given
        if given is None:
            continue
        callback = _bare(context.apply_hooks(given), derived_suffix(job_id, option))
        refuse_unique(callback, "callbacks")
        refuse_times(callback)
        sent = yield from prepare(context, callback)
        edges = (Edge(job_id, 0, POLICIES[option]),)
        more = parents_in_header(context.keys, edges)
        fields = {**header, **more, "callback": option, "enqueued_at": wall_us()}
        entry = sent.entry._replace(envelope=amended(sent.entry.envelope, fields))
        made[option] = Dependant(sent.lane, entry, edges, level=sent.level)
    return made


def undo_later(context: FleetContext, job_id: str, suffix: str) -> Operation[None]:
    """Enqueue the job that undoes the steps of a running job, unless that job completes.

    Args:
        context: The context of the fleet.
        job_id: The running job.
        suffix: The suffix of the new job; the same in all runs, so that a repetition adds nothing.
    """
    queue = context.keys.lane_of(job_id).queue
    job = Job("undo", UNDO, (job_id,), queue=queue, max_retries=UNDO_RETRIES)
    _set(job, "suffix", suffix)
    sent = yield from prepare(context, job, is_undo=True)
    edges = (Edge(job_id, 0, "~u"),)
    fields = {**parents_in_header(context.keys, edges), "callback": "undo", "enqueued_at": wall_us()}
    entry = sent.entry._replace(envelope=amended(sent.entry.envelope, fields))
    yield from submit_prepared(context, Dependant(sent.lane, entry, edges, level=sent.level))


def _bare(job: Job, suffix: str) -> Job:
    """The job without callbacks, under a derived id: to enqueue its parent again makes no second callback."""
    copy = replace(job, on_success=None, on_failure=None)
    _set(copy, "suffix", suffix)
    return with_trace(copy, trace_of(job))
