"""Enqueue, read, list and cancel flows.

The jobs that wait for no other job of the flow are written with guards (`writing`). When all jobs are written, the
record of the flow is marked as whole, and the guards are lifted. If a producer dies in between, the sweep of the relay
reads the record: it lifts the guards of a whole flow. Of a flow that is not whole no job has started; it cancels the
guarded jobs, and with them the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from jobfleet.clock import monotonic
from jobfleet.codec import amended
from jobfleet.graph import Flow, refuse_times
from jobfleet.model import JobResult
from jobfleet.model.asking import check_number
from jobfleet.operations.durability import durably, uncertain
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.callbacks import prepare_callbacks
from jobfleet.operations.flows.dependencies import POLICIES, Dependant, refuse_unique
from jobfleet.operations.flows.info import FlowInfo, FlowPart
from jobfleet.operations.flows.label import label_of
from jobfleet.operations.flows.record import FlowJob, StoredFlow, read, seal_flow
from jobfleet.operations.flows.unblock import unblock
from jobfleet.operations.flows.writing import guarded, put_ahead, put_all
from jobfleet.operations.jobs.cancel import cancel_ids
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.jobs.prepare import asks_for_callbacks, quick
from jobfleet.operations.operation import BulkOperation, Operation, batches, value
from jobfleet.operations.results import moment
from jobfleet.store.calls import flow as calls
from jobfleet.store.calls.index import KEEP
from jobfleet.store.records import Entry
from jobfleet.store.retention import PARENTS_KEPT_MS

Suffix = Callable[[int], str]
_Edges = tuple[tuple[int, ...], tuple[str, ...], tuple[calls.Edge, ...]]
_set = object.__setattr__


def enqueue(context: FleetContext, flow: Flow) -> BulkOperation[FlowInfo]:
    """Enqueue a flow.

    Raises:
        InvalidJob: The flow is empty, is too large, has a cycle, or has a job with a unique key; nothing is written.
        EncodingError: An argument cannot be encoded; nothing is written.
        DurabilityUnavailable: The server cannot provide the durability of a job; nothing is written.
        DurabilityUncertain: The durability of a job was not reached; it has the id of the flow.
    """
    jobs, dependants = yield from prepare_jobs(context, flow, {"flow": flow.id})
    if levels := {one.level for one in dependants if one.level}:
        writing = write(context, flow.id, flow.name, jobs, dependants)
        at, is_reached = yield from durably(context, dependants[0].lane, levels, writing)
        if not is_reached:
            raise uncertain(context, max(levels), flow.id)
    else:
        at = yield from _write_ahead(context, flow.id, flow.name, jobs, dependants)
    return FlowInfo(flow.id, flow.name, moment(at), tuple(jobs), is_read=False)


def _without_keep(meta: str) -> str:
    """Remove the index of its function from a job's clear record, so that its result stays for its TTL."""
    mark = f"i {KEEP}"
    return "\n".join(line for line in meta.split("\n") if not line.startswith(mark)) if mark in meta else meta


class _EdgesOf:
    """Makes the edges of the jobs of a flow. Jobs that wait for the same others, one after the other, share them.

    Args:
        flow: The flow.
        places: The place of each job in the order of the jobs, by its number.
        rows: The jobs so far, in this order.
        first: Ids of the jobs that the jobs without parents wait for.
    """

    def __init__(self, flow: Flow, places: Mapping[int, int], rows: Sequence[FlowJob], first: Sequence[str]) -> None:
        self._links = flow.links
        self._places = places
        self._rows = rows
        cancel = POLICIES["cancel"]
        self._without = (), (), tuple(calls.Edge(job_id, number, cancel) for number, job_id in enumerate(first))
        self._asked: tuple[tuple[int, str], ...] = ()
        self._last: _Edges = self._without

    def __call__(self, number: int) -> _Edges:
        """Return the parents of a job by their places, their policies, and the edges as they are sent."""
        links = self._links.get(number)
        if not links:
            return self._without
        asked = tuple([(parent, link.otherwise) for parent, link in links.items()])
        if asked != self._asked:
            parents = tuple([self._places[parent] for parent, _ in asked])
            otherwise = tuple([policy for _, policy in asked])
            edges = tuple(
                [
                    calls.Edge(self._rows[place].id, number, POLICIES[policy])
                    for number, (place, policy) in enumerate(zip(parents, otherwise, strict=True))
                ]
            )
            self._asked, self._last = asked, (parents, otherwise, edges)
        return self._last


class Prepared(NamedTuple):
    """The prepared jobs of a flow.

    Attributes:
        jobs: The jobs as the record of the flow lists them, each after the jobs that it waits for.
        dependants: The same jobs as they are sent, then their callbacks.
    """

    jobs: list[FlowJob]
    dependants: list[Dependant]


def prepare_jobs(
    context: FleetContext,
    flow: Flow,
    header: Mapping[str, object],
    *,
    first: Sequence[str] = (),
    suffix: Suffix | None = None,
) -> Operation[Prepared]:
    """Prepare the jobs of a flow.

    Args:
        context: The context of the fleet.
        flow: The flow.
        header: Further fields of the headers of its jobs.
        first: Ids of the jobs that the jobs without parents wait for.
        suffix: Makes the suffix of a job id from the number of the job, unless the job has an id; None to keep the
            suffix of the job.

    Raises:
        InvalidJob: The flow is empty, is too large, has a cycle, or has a job with a unique key.
        EncodingError: An argument cannot travel.
    """
    order = flow.order()
    places = {node.number: place for place, node in enumerate(order)}
    rows: list[FlowJob] = []
    dependants: list[Dependant] = []
    more: list[Dependant] = []
    heads: dict[int, dict[bytes, bytes]] = {}
    edges_of = _EdgesOf(flow, places, rows, first)
    for node in order:
        parents, otherwise, edges = edges_of(node.number)
        job = node.job if suffix is None or node.job.id else replace(node.job, id=suffix(node.number))
        job = context.apply_hooks(job)
        function = job.function
        if not job.is_plain or type(function) is not str:  # else it has no option at all
            refuse_unique(job, "jobs of a flow")
            refuse_times(job)
        callbacks: Mapping[str, Dependant] = {}
        sent = quick(context, job, monotonic())
        if sent is None or len(sent.entry.envelope) > context.inline_max:
            sent = yield from prepare(context, job)
            if asks_for_callbacks(context, job):
                callbacks = yield from prepare_callbacks(context, job, sent.entry.id, header)
        job_id, band, when, meta, envelope = sent.entry
        fields = {**header, "parents": len(edges)} if edges else header
        if callbacks:
            fields = {**fields, **{option: one.entry.id for option, one in callbacks.items()}}
            more += callbacks.values()
            envelope = amended(envelope, fields)
        else:
            envelope = amended(envelope, fields, heads.setdefault(len(edges), {}))
        # The status of a flow, and its retry, need the endings of all its jobs.
        entry = Entry(job_id, band, when, _without_keep(meta) if meta else "", envelope)
        dependants.append(Dependant(sent.lane, entry, edges, level=sent.level))
        name = function if type(function) is str else str(getattr(function, "name", function))
        rows.append(FlowJob(job_id, job.name, name, parents, otherwise, band))
    shared = Counter([row.name for row in rows])
    for row, node in zip(rows, order, strict=True):
        if shared[row.name] > 1:
            _set(row, "label", label_of(node.job))  # before anybody sees it
    return Prepared(rows, dependants + more)


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
    writing = _Writing(context, flow_id, name, jobs, made, folded)
    yield from writing.begin()
    yield from put_all(context, made, writing.guards)
    return (yield from writing.end())


def _write_ahead(
    context: FleetContext, flow_id: str, name: str, jobs: Sequence[FlowJob], made: Sequence[Dependant]
) -> BulkOperation[int]:
    """Write a new flow like `write`, but make calls while the server works on those before."""
    writing = _Writing(context, flow_id, name, jobs, made)
    yield from writing.begin()
    yield from put_ahead(context, made, writing.guards)
    return (yield from writing.end())


class _Writing:
    """The beginning and the end of the writing of a flow; the arguments are those of `write`."""

    def __init__(
        self,
        context: FleetContext,
        flow_id: str,
        name: str,
        jobs: Sequence[FlowJob],
        made: Sequence[Dependant],
        folded: Sequence[str] = (),
    ) -> None:
        self.guards: list[str] = guarded(made)
        self._context = context
        self._flow_id = flow_id
        last = list({context.keys.lane_of(job_id): job_id for job_id in self.guards}.values())
        self._record = seal_flow(name, jobs, last, folded)

    def begin(self) -> Operation[int]:
        """Write the record, by which a reaper learns that the jobs are not all written."""
        return self._keep(self._record.begun)

    def end(self) -> Operation[int]:
        """Mark the record as whole and lift the guards; return the time of Redis, µs since 1970."""
        at = yield from self._keep(self._record.whole)
        yield from lift(self._context, self.guards)
        return at

    def _keep(self, record: bytes) -> Operation[int]:
        call = calls.keep_flow(self._context.keys, self._flow_id, record, ttl_ms=PARENTS_KEPT_MS)
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
            results[place] = row
    return results


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
