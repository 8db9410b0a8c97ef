"""Enqueue, read, list and cancel flows.

All jobs of a flow are written with guards, also the jobs without parents. When all jobs are written, the record of the
flow is marked as whole, and the guards are lifted. If a producer dies in between, the sweep of the relay reads the
record: it lifts the guards of a whole flow, and cancels a flow that is not whole, of which no job has started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from jobfleet.codec import amended, encode
from jobfleet.errors import InvalidJob
from jobfleet.graph import Flow, refuse_times
from jobfleet.model import JobResult
from jobfleet.model.asking import check_number
from jobfleet.operations.durability import durably, uncertain
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.callbacks import prepare_callbacks
from jobfleet.operations.flows.dependencies import POLICIES, Dependant, refuse_unique
from jobfleet.operations.flows.info import FlowInfo, FlowPart
from jobfleet.operations.flows.label import labelled
from jobfleet.operations.flows.record import RECORD, FlowJob, StoredFlow, labels_of, read, row_of
from jobfleet.operations.flows.unblock import unblock, unblock_dependants
from jobfleet.operations.jobs.cancel import cancel_ids
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation, T, batches, value
from jobfleet.operations.results import moment
from jobfleet.store.call import Call
from jobfleet.store.calls import flow as calls
from jobfleet.store.calls.index import KEEP
from jobfleet.store.retention import PARENTS_KEPT_MS

AT_ONCE = 100
Suffix = Callable[[int], str]


def enqueue(context: FleetContext, flow: Flow) -> Operation[FlowInfo]:
    """Enqueue a flow.

    Raises:
        InvalidJob: The flow is empty, is too large, has a cycle, or has a job with a unique key; nothing is written.
        EncodingError: An argument cannot be encoded; nothing is written.
        DurabilityUnavailable: The server cannot provide the durability of a job; nothing is written.
        DurabilityUncertain: The durability of a job was not reached; it has the id of the flow.
    """
    if not isinstance(flow, Flow):
        raise InvalidJob(f"flow is {flow!r:.100}; give a Flow.", field="flow")
    jobs, dependants = yield from prepare_jobs(context, flow, {"flow": flow.id})
    writing = write(context, flow.id, flow.name, jobs, dependants)
    if levels := {one.level for one in dependants if one.level}:
        at, is_reached = yield from durably(context, dependants[0].lane, levels, writing)
        if not is_reached:
            raise uncertain(context, max(levels), flow.id)
    else:
        at = yield from writing
    return FlowInfo(flow.id, flow.name, moment(at), tuple(jobs), is_read=False)


def _without_keep(meta: str) -> str:
    """Remove the index of its function from a job's clear record, so that its result stays for its TTL."""
    mark = f"i {KEEP}"
    return "\n".join(line for line in meta.split("\n") if not line.startswith(mark)) if mark in meta else meta


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
    jobs: list[FlowJob] = []
    dependants: list[Dependant] = []
    more: list[Dependant] = []
    for node in order:
        links = flow.links.get(node.number, {})
        job = node.job if suffix is None or node.job.id else replace(node.job, id=suffix(node.number))
        job = context.apply_hooks(job)
        refuse_unique(job, "jobs of a flow")
        refuse_times(job)
        sent = yield from prepare(context, job)
        parents = tuple(places[number] for number in links)
        before = [
            (jobs[place].id, POLICIES[link.otherwise]) for place, link in zip(parents, links.values(), strict=True)
        ]
        before = before or [(job_id, POLICIES["cancel"]) for job_id in first]
        edges = tuple(calls.Edge(job_id, number, policy) for number, (job_id, policy) in enumerate(before))
        fields = {**header, "parents": len(edges)} if edges else header
        callbacks = yield from prepare_callbacks(context, job, sent.entry.id, header)
        if callbacks:
            fields = {**fields, **{option: one.entry.id for option, one in callbacks.items()}}
            more += callbacks.values()
        envelope = amended(sent.entry.envelope, fields)
        # The status of a flow, and its retry, need the endings of all its jobs.
        entry = sent.entry._replace(envelope=envelope, meta=_without_keep(sent.entry.meta))
        dependants.append(Dependant(sent.lane, entry, edges, level=sent.level))
        function = str(getattr(job.function, "name", job.function))
        otherwise = tuple(link.otherwise for link in links.values())
        jobs.append(FlowJob(sent.entry.id, job.name, function, parents, otherwise, sent.entry.band))
    return Prepared(labelled(jobs, [node.job for node in order]), dependants + more)


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
    yield from _write_record(context, flow_id, name, jobs, folded, is_whole=False)
    yield from put_all(context, made)
    at = yield from _write_record(context, flow_id, name, jobs, folded, is_whole=True)
    yield from lift(context, made)
    return at


def lift(context: FleetContext, made: Sequence[Dependant]) -> Operation[None]:
    """Lift the guards of jobs; all of them must be written."""
    guards = [calls.ParentEnd(one.entry.id, calls.GUARD, "completed", b"") for one in made]
    yield from unblock(context.keys, guards, ttl_ms=PARENTS_KEPT_MS)


def _write_record(
    context: FleetContext, flow_id: str, name: str, jobs: Sequence[FlowJob], folded: Sequence[str], *, is_whole: bool
) -> Operation[int]:
    rows = [[*row_of(job), job.added_by] if job.added_by else row_of(job) for job in jobs]
    fields: dict[str, object] = {"name": name, "jobs": rows, "whole": is_whole, **labels_of(jobs)}
    record = encode({**fields, "folded": list(folded)} if folded else fields, limits=RECORD, what="flow")
    return int(value((yield (calls.keep_flow(context.keys, flow_id, record, ttl_ms=PARENTS_KEPT_MS),))))


def put_all(context: FleetContext, made: Sequence[Dependant]) -> Operation[None]:
    """Write jobs with their guards, and register their parents."""
    blocks = [
        calls.block(one.lane, one.entry, part, ttl_ms=PARENTS_KEPT_MS)
        for one in made
        for part in (batches(one.edges, calls.CHUNK) if one.edges else [()])
    ]
    yield from run_all(blocks)
    children: dict[str, list[str]] = {}
    for one in made:
        for edge in one.edges:
            children.setdefault(edge.parent, []).append(one.entry.id)
    watches = [(parent, part) for parent, names in children.items() for part in batches(names, calls.CHUNK)]
    endings = yield from run_all([calls.watch(context.keys.lane_of(parent), parent, part) for parent, part in watches])
    for (parent, part), ending in zip(watches, endings, strict=True):
        if ending.state != "watched":  # only when the same flow is enqueued again
            yield from unblock_dependants(context.keys, parent, ending, part, ttl_ms=PARENTS_KEPT_MS)


def run_all(every: Sequence[Call[T]]) -> Operation[list[T]]:
    """Run many calls, up to 100 per pipeline; return their values."""
    answers: list[T] = []
    for part in batches(every, AT_ONCE):
        answers += [value([answer]) for answer in (yield part)]
    return answers


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
