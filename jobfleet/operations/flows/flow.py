"""Enqueue, read, list and cancel flows.

The jobs that wait for no other job of the flow are written with guards (`writing`). When all jobs are written, the
record of the flow is marked as whole, and the guards are lifted. If a producer dies in between, the sweep of the relay
reads the record: it lifts the guards of a whole flow. Of a flow that is not whole no job has started; it cancels the
guarded jobs, and with them the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from jobfleet.model import JobResult
from jobfleet.model.flow import Flow
from jobfleet.model.status import check_number
from jobfleet.operations.durability import durably, uncertain
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import Dependant
from jobfleet.operations.flows.info import FlowInfo, FlowPart
from jobfleet.operations.flows.preparing import prepare_jobs
from jobfleet.operations.flows.record import FlowJob, StoredFlow, read, row_of, seal_flow
from jobfleet.operations.flows.unblock import unblock
from jobfleet.operations.flows.writing import guarded, put_ahead, put_all
from jobfleet.operations.jobs.cancel import cancel_ids
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import BulkOperation, Operation, T, batches, value
from jobfleet.operations.results import moment
from jobfleet.store.calls import flow as calls
from jobfleet.store.keys import PARENTS_KEPT_MS, flow_ttl_ms


def enqueue(context: FleetContext, flow: Flow) -> BulkOperation[FlowInfo]:
    """Enqueue a flow.

    Raises:
        InvalidJob: The flow is empty, is too large, has a cycle, or has a job with a unique key; nothing is written.
        EncodingError: An argument cannot be encoded; nothing is written.
        DurabilityUnavailable: The server cannot provide the durability of a job; nothing is written.
        DurabilityUncertain: The durability of a job was not reached; it has the id of the flow.
    """
    made = yield from prepare_jobs(context, flow, {"flow": flow.id})
    writing = _Writing(context, flow.id, flow.name, made.rows, made.labels, made.dependants)
    if levels := made.dependants.levels:
        at, is_reached = yield from durably(context, made.dependants[0].lane, levels, writing.run())
        if not is_reached:
            raise uncertain(context, max(levels), flow.id)
        jobs = made.jobs
    elif context.is_spread:  # calls of one trip reach the nodes of a cluster in any order, so a trip has few
        at, jobs = (yield from writing.run()), made.jobs
    else:
        at, jobs = yield from writing.run_ahead(lambda: made.jobs)
    return FlowInfo(flow.id, flow.name, moment(at), tuple(jobs), is_read=False)


def write(
    context: FleetContext,
    flow_id: str,
    name: str,
    jobs: Sequence[FlowJob],
    made: Sequence[Dependant],
    folded: Sequence[str] = (),
) -> Operation[int]:
    """Write new jobs of a flow, and start it; return the time of Redis, µs since 1970.

    Args:
        context: The context of the fleet.
        flow_id: The id of the flow.
        name: The label of the flow.
        jobs: All its jobs.
        made: The new jobs.
        folded: The stored names of the additions whose jobs are among `jobs`.
    """
    rows = [(*row_of(job), job.added_by) if job.added_by else row_of(job) for job in jobs]
    labels = {job.id: job.label for job in jobs if job.label}
    return _Writing(context, flow_id, name, rows, labels, made, folded).run()


class _Writing:
    """The writing of new jobs of a flow.

    Args:
        context: The context of the fleet.
        flow_id: The id of the flow.
        name: The label of the flow.
        rows: All its jobs, as `seal_flow` takes them.
        labels: The labels of its jobs, by id.
        made: The new jobs.
        folded: The stored names of the additions whose jobs are among `rows`.
    """

    def __init__(
        self,
        context: FleetContext,
        flow_id: str,
        name: str,
        rows: Iterable[Sequence[Any]],
        labels: Mapping[str, str],
        made: Sequence[Dependant],
        folded: Sequence[str] = (),
    ) -> None:
        self._context = context
        self._flow_id = flow_id
        self._made = made
        self._guards = guarded(made)
        last = list({context.keys.lane_of(job_id): job_id for job_id in self._guards}.values())
        self._record = seal_flow(name, rows, labels, last, folded)

    def run(self) -> Operation[int]:
        """Write the jobs, and start the flow; return the time of Redis, µs since 1970."""
        yield from self._keep(self._record.begun)
        yield from put_all(self._context, self._made, self._guards)
        return (yield from self._start())

    def run_ahead(self, meanwhile: Callable[[], T]) -> BulkOperation[tuple[int, T]]:
        """Like `run`, but make calls while the server works on those before.

        Args:
            meanwhile: Work for the time in which the server has all calls and this process none.
        """
        yield from self._keep(self._record.begun)
        done = yield from put_ahead(self._context, self._made, self._guards, meanwhile)
        return (yield from self._start()), done

    def _start(self) -> Operation[int]:
        """Mark the record as whole, and lift the guards."""
        at = yield from self._keep(self._record.whole)
        yield from lift(self._context, self._guards)
        return at

    def _keep(self, record: bytes) -> Operation[int]:
        ttl_ms = flow_ttl_ms(self._context.config)
        call = calls.keep_flow(self._context.keys, self._flow_id, record, ttl_ms=ttl_ms)
        return int(value((yield (call,))))


def lift(context: FleetContext, guards: Sequence[str]) -> Operation[None]:
    """Lift the guards of jobs, given by their ids; all the jobs that were made with them must be written."""
    ends = [calls.ParentEnd(job_id, calls.GUARD, "completed", b"") for job_id in guards]
    yield from unblock(context.keys, ends, ttl_ms=PARENTS_KEPT_MS)


def get(context: FleetContext, flow_id: str) -> Operation[FlowInfo]:
    """Read a flow with the results of its jobs.

    Raises:
        JobNotFound: The flow is not known.
    """
    return (yield from with_results(context, flow_id, (yield from read(context, flow_id))))


def with_results(context: FleetContext, flow_id: str, flow: StoredFlow) -> Operation[FlowInfo]:
    """Add the results of its jobs to a flow that was read."""
    known: list[FlowJob] = []
    for some in batches(flow.jobs, 1000):
        known += yield from _with_states(context, some, has_values=True)
    return FlowInfo(flow_id, flow.name, None, tuple(known))


def part(context: FleetContext, flow_id: str, *, begin: int, limit: int) -> Operation[FlowPart]:
    """Read a flow, and the states of some of its jobs.

    Args:
        context: The context of the fleet.
        flow_id: The id of the flow.
        begin: The number of the first job.
        limit: The most jobs.

    Raises:
        JobNotFound: The flow is not known.
        InvalidJob: `begin` is not a whole number from 0, or `limit` not one from 1.
    """
    check_number(begin, field="begin", least=0)
    check_number(limit)
    flow = yield from read(context, flow_id)
    chosen = flow.jobs[begin : begin + limit]
    known = yield from _with_states(context, chosen, has_values=False)
    return FlowPart(flow_id, flow.name, tuple(job.id for job in flow.jobs), begin, tuple(known))


def _with_states(context: FleetContext, jobs: Sequence[FlowJob], *, has_values: bool) -> Operation[list[FlowJob]]:
    results = yield from _results(context, [job.id for job in jobs], has_values=has_values)
    return [
        replace(job, id=job.id if result is None else result.id, result=result)
        for job, result in zip(jobs, results, strict=True)
    ]


def _results(context: FleetContext, ids: Sequence[str], *, has_values: bool) -> Operation[list[JobResult[Any] | None]]:
    """The results of jobs; for a moved job, the result of the new job."""
    results: list[JobResult[Any] | None] = yield from poll_many(context, ids, has_values=has_values)
    while moved := {place: row.moved_to for place, row in enumerate(results) if row is not None and row.moved_to}:
        there = yield from poll_many(context, list(moved.values()), has_values=has_values)
        for place, row in zip(moved, there, strict=True):
            results[place] = _continued(context, results[place], row)
    return results


def _continued(context: FleetContext, old: JobResult[Any] | None, new: JobResult[Any] | None) -> JobResult[Any] | None:
    """The job that continues a moved one. Scripts write without keys what was moved; the new job says so with them."""
    seals = context.keys.seals
    if seals is None or not seals.requires or old is None or new is None or new.moved_from == old.id:
        return new
    return replace(old, moved_to=None, error=f"{new.id} does not say that it continues this job")


def listing(context: FleetContext, *, limit: int) -> Operation[list[tuple[str, datetime | None]]]:
    """List the last flows, newest first: the id, and the time of the enqueue.

    Args:
        context: The context of the fleet.
        limit: The most flows to return; 1,000 are kept.

    Raises:
        InvalidJob: `limit` is not a whole number from 0.
    """
    check_number(limit, least=0)
    if not limit:
        return []
    rows = value((yield (calls.flows(context.keys, limit=limit),)))
    return [(flow_id, moment(at)) for flow_id, at in rows]


def cancel(context: FleetContext, flow_id: str, by: str | None) -> Operation[int]:
    """Cancel the open jobs of a flow; return how many were cancelled or asked to stop.

    Raises:
        JobNotFound: The flow is not known.
    """
    info = yield from get(context, flow_id)
    open_ones = [job.id for job in info.jobs if job.result is not None and not job.result.status.is_final]
    # The last job is cancelled first, so that no cancellation has to unblock a dependant.
    count: int = yield from cancel_ids(context, reversed(open_ones), by)
    return count
