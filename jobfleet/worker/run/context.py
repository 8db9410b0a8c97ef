"""What a function is called with: the `JobContext` of its run, the results of parents, and injected parameters."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobfleet.clock import moment, to_seconds
from jobfleet.codec import Limits
from jobfleet.errors import JobNotFound
from jobfleet.functions.context import JobContext
from jobfleet.functions.injection import Injection, with_secrets
from jobfleet.logs import JobLogger
from jobfleet.model import Job, JobResult, JobStatus, suffix_time_us
from jobfleet.model.fields import TEXT_NAMES
from jobfleet.operations.jobs.prepare import durations_in
from jobfleet.retry.tries import Tries
from jobfleet.store.calls.inspect import final_of
from jobfleet.worker.run.run import ParentEnd, Run

if TYPE_CHECKING:
    from jobfleet.operations.jobs.poll import Functions

LIMITS = Limits(max_bytes=512 << 20, max_depth=128)
"""The limits for data from Redis, which was within its own limits when it was written."""
PLAIN = ("max_retries", "retry_backoff", "retry_jitter", "max_crashes", *TEXT_NAMES)


def _options(header: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the producer has set."""
    options = {name: header[name] for name in PLAIN if name in header}
    for name, us in durations_in(header):
        options[name] = [to_seconds(one) for one in us] if isinstance(us, list) else to_seconds(us)
    return options


def context_of(run: Run, child: str, args: list[Any], kwargs: dict[str, Any]) -> JobContext:
    """The context of a run.

    Args:
        run: The run.
        child: The child's id.
        args: The job's positional arguments.
        kwargs: The job's named arguments.
    """
    header = run.header
    function = header["function"]
    tags = tuple(header.get("tags", ()))
    own = suffix_time_us(run.id.rpartition(".")[2]) is None
    job = Job(
        header.get("name", function),
        function,
        tuple(args),
        kwargs,
        queue=run.lane.queue,
        tags=tags or None,
        metadata=header.get("metadata"),
        id=run.id.split(".", 2)[2] if own else None,
        **(_options(header) if len(header) > 1 else {}),
    )
    return JobContext(
        job_id=run.id,
        job=job,
        attempt=Tries.parse(run.grant.tries).attempt,
        fence=run.token,
        worker=child,
        user=job.user,
        tags=tags,
        metadata=header.get("metadata", {}),
        correlation_id=job.correlation_id,
        nominal_time=moment(header.get("nominal")),
        parents=_parents_of(run) if run.parents else {},
        flow_id=header.get("flow"),
        log=JobLogger(logging.getLogger(f"jobfleet.job.{function}"), {"job_id": run.id}),
        port=run,
    )


def _parents_of(run: Run) -> dict[str, JobResult[Any]]:
    """The results of a run's parents by id."""
    return results_of(run.parents, LIMITS, run.handler.functions if run.handler is not None else {})


def results_of(rows: Sequence[ParentEnd], limits: Limits, functions: Functions) -> dict[str, JobResult[Any]]:
    """The results of the parents by id.

    Args:
        rows: The parents, as the look-up has found them.
        limits: The limits of a result.
        functions: The functions that this process knows, which say what their results become.
    """
    from jobfleet.operations.jobs.poll import rebuilt  # isolated processes start without what most runs do not need

    return {parent: rebuilt(functions, _result(parent, status, value, limits)) for parent, status, value in rows}


def _result(parent: str, status: str, value: bytes, limits: Limits) -> JobResult[Any]:
    if value:
        from jobfleet.operations.results import result_of

        try:
            return result_of(parent, final_of(value), 0, limits=limits, is_checked=True)
        except JobNotFound:
            pass
    known = JobStatus(status) if status in JobStatus.__members__.values() else JobStatus.CANCELLED
    return JobResult(id=parent, status=known, error="Its result was deleted.")


NONE: Mapping[str, Any] = {}
Arguments = tuple[list[Any], dict[str, Any]]


def inject(
    injection: Injection,
    context: JobContext,
    args: list[Any],
    kwargs: dict[str, Any],
    resources: Mapping[str, Any] = NONE,
) -> Arguments:
    """The arguments of a call, with the injected parameters.

    Args:
        injection: The parameters to inject.
        context: The context of the job.
        args: The job's positional arguments.
        kwargs: The job's named arguments. They are not changed.
        resources: The result of `Resources.open_all` for `injection.resources`.
    """
    if injection.secrets:
        args, kwargs = with_secrets(injection, args, kwargs)
    if resources:
        kwargs = {**kwargs, **resources}
    if injection.progress:
        kwargs = {**kwargs, "progress_callback": context.progress}
    if injection.context_first:
        args = [context, *args]
    elif injection.context is not None:
        kwargs = {**kwargs, injection.context: context}
    return args, kwargs
