"""Flows: enqueued as one, looked at, cancelled, retried. See `verbs` for the form.

All jobs of a flow are put in behind guards, those that wait for nobody too. When all is written, the flow's
record says so, and the guards are lifted. Where a producer dies in between, the relay's sweep looks at the
record: it lifts the guards of a flow that is whole, and lets go of one that is not, which has not begun.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from jobfleet.codec import amended, encode
from jobfleet.errors import InvalidJob
from jobfleet.graph import Flow, refuse_times
from jobfleet.model import JobResult, new_suffix
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import POLICIES, Dependant, refuse_unique
from jobfleet.operations.flows.record import RECORD, FlowJob, read, row_of
from jobfleet.operations.flows.unblock import unblock, unblock_dependants
from jobfleet.operations.jobs.cancel import cancel_ids
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.jobs.replay import replay
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.results import moment
from jobfleet.store.calls import flow as calls
from jobfleet.store.calls import inspect
from jobfleet.store.job_rows import Final
from jobfleet.store.records import Entry
from jobfleet.store.retention import PARENTS_KEPT_MS

AT_ONCE = 100
Suffix = Callable[[int], str]
BECAUSE = "cancelled by parent:"


@dataclass(frozen=True, slots=True)
class FlowInfo:
    """A flow at one moment.

    Attributes:
        id: Its id.
        name: Its label.
        made: When it was enqueued.
        jobs: Its jobs, each after those it waits for.
    """

    id: str
    name: str
    made: datetime | None
    jobs: tuple[FlowJob, ...]

    @property
    def status(self) -> str:
        """Its status in a word: that of its least fortunate job; ``completed`` when all have."""
        found = {job.status for job in self.jobs}
        order = ("failed", "running", "retrying", "queued", "scheduled", "blocked", "cancelled", "expired", "gone")
        return next((word for word in order if word in found), "completed")


def enqueue(context: FleetContext, flow: Flow) -> Operation[FlowInfo]:
    """Enqueue a flow.

    Raises:
        InvalidJob: It is empty, too large, or has a cycle; nothing is written then.
        EncodingError: An argument cannot travel; likewise.
    """
    if not isinstance(flow, Flow):
        raise InvalidJob(f"flow is {flow!r:.100}; give a Flow.", field="flow")
    jobs, made = yield from written(context, flow, {"flow": flow.id})
    at = yield from _write(context, flow.id, flow.name, jobs, made)
    return FlowInfo(flow.id, flow.name, moment(at), tuple(jobs))


def written(
    context: FleetContext,
    flow: Flow,
    header: Mapping[str, object],
    *,
    first: Sequence[str] = (),
    suffix: Suffix | None = None,
) -> Operation[tuple[list[FlowJob], list[Dependant]]]:
    """Write the jobs of a flow down, each after those it waits for.

    Args:
        space: The names and settings.
        flow: The flow.
        header: What their headers say of it.
        first: Ids of jobs of which those wait that wait for nobody else.
        suffix: Makes the suffix of a job's id from its number; that of the job itself where it has one of its own.

    Raises:
        InvalidJob: It is empty, too large, or has a cycle; or a job has a unique key.
        EncodingError: An argument cannot travel.
    """
    order = flow.order()
    places = {node.number: place for place, node in enumerate(order)}
    jobs: list[FlowJob] = []
    made: list[Dependant] = []
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
        said = {**header, "parents": len(edges)} if edges else header
        envelope = amended(sent.entry.envelope, said)
        made.append(Dependant(sent.lane, sent.entry._replace(envelope=envelope), edges))
        function = str(getattr(job.function, "name", job.function))
        otherwise = tuple(link.otherwise for link in links.values())
        jobs.append(FlowJob(sent.entry.id, job.name, function, parents, otherwise, sent.entry.band))
    return jobs, made


def _write(
    context: FleetContext,
    flow_id: str,
    name: str,
    jobs: Sequence[FlowJob],
    made: Sequence[Dependant],
    folded: Sequence[str] = (),
) -> Operation[int]:
    """Write new jobs of a flow, and begin; answers Redis's time, µs.

    Args:
        space: The names and settings.
        flow_id: Its id.
        name: Its label.
        jobs: All its jobs.
        made: Those that are new.
        folded: The additions whose jobs are among them.
    """
    yield from _keep(context, flow_id, name, jobs, folded, is_whole=False)
    yield from put_all(context, made)
    at = yield from _keep(context, flow_id, name, jobs, folded, is_whole=True)
    yield from lift(context, made)
    return at


def lift(context: FleetContext, made: Sequence[Dependant]) -> Operation[None]:
    """Lift the guards of jobs that are all written."""
    guards = [calls.ParentEnd(one.entry.id, calls.GUARD, "completed", b"") for one in made]
    yield from unblock(context.keys, guards, ttl_ms=PARENTS_KEPT_MS)


def _keep(
    context: FleetContext, flow_id: str, name: str, jobs: Sequence[FlowJob], folded: Sequence[str], *, is_whole: bool
) -> Operation[int]:
    rows = [[*row_of(job), job.added_by] if job.added_by else row_of(job) for job in jobs]
    told = {"name": name, "jobs": rows, "whole": is_whole}
    record = encode({**told, "folded": list(folded)} if folded else told, limits=RECORD, what="flow")
    return int(value((yield (calls.keep_flow(context.keys, flow_id, record, ttl_ms=PARENTS_KEPT_MS),))))


def put_all(context: FleetContext, made: Sequence[Dependant]) -> Operation[None]:
    """Put jobs in behind their guards, and name who waits for whom."""
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


def run_all(every: Sequence[Any]) -> Operation[list[Any]]:
    """Run many calls, some at once; their values."""
    answers: list[Any] = []
    for part in batches(every, AT_ONCE):
        answers += [value([answer]) for answer in (yield part)]
    return answers


def get(context: FleetContext, flow_id: str) -> Operation[FlowInfo]:
    """A flow at this moment.

    Raises:
        JobNotFound: Nothing is known of it.
    """
    name, jobs, _ = yield from read(context, flow_id)
    known: list[FlowJob] = []
    for part in batches(jobs, 1000):
        results = yield from _results(context, [job.id for job in part])
        known += [
            replace(job, id=job.id if result is None else result.id, result=result)
            for job, result in zip(part, results, strict=True)
        ]
    return FlowInfo(flow_id, name, None, tuple(known))


def _results(context: FleetContext, ids: Sequence[str]) -> Operation[list[JobResult[Any] | None]]:
    """What is known of some jobs; of a moved one, of that which took its place."""
    results: list[JobResult[Any] | None] = yield from poll_many(context, ids)
    while moved := {place: row.moved_to for place, row in enumerate(results) if row is not None and row.moved_to}:
        there = yield from poll_many(context, list(moved.values()))
        for place, row in zip(moved, there, strict=True):
            results[place] = row
    return results


def listing(context: FleetContext, *, limit: int) -> Operation[list[tuple[str, datetime | None]]]:
    """The last flows, the newest first: id, and when it was made."""
    rows = value((yield (calls.flows(context.keys, limit=limit),)))
    return [(flow_id, moment(at)) for flow_id, at in rows]


def cancel(context: FleetContext, flow_id: str, by: str | None) -> Operation[int]:
    """Cancel whatever of a flow has not ended; how many jobs were, or were asked to stop.

    Raises:
        JobNotFound: Nothing is known of it.
    """
    info = yield from get(context, flow_id)
    open_ones = [job.id for job in info.jobs if job.result is not None and not job.result.status.is_final]
    # From the end: who is cancelled first is not told of those before it.
    count: int = yield from cancel_ids(context, reversed(open_ones), by)
    return count


def retry(context: FleetContext, flow_id: str, by: str | None) -> Operation[int]:
    """Run a flow on from what failed: replay that, and enqueue anew what was cancelled because of it.

    A job that was cancelled stays so; another under a new id takes its place in the flow. Answers how many run again.

    Raises:
        JobNotFound: Nothing is known of the flow.
    """
    info = yield from get(context, flow_id)
    _, _, additions = yield from read(context, flow_id)
    jobs, made = list(info.jobs), []
    for place, job in enumerate(info.jobs):
        if job.result is None or not (job.result.error or "").startswith(BECAUSE):
            continue
        entry = yield from _entry_again(context, job)
        if entry is None:
            continue
        edges = tuple(
            calls.Edge(jobs[parent].id, number, POLICIES[job.otherwise[number]])
            for number, parent in enumerate(job.parents)
        )
        jobs[place] = replace(job, id=entry.id, result=None)
        made.append(Dependant(context.keys.lane_of(entry.id), entry, edges))
    failed = [job.id for job in info.jobs if job.status == "failed"]
    count = 0
    for job_id in failed:
        count += bool((yield from replay(context, job_id, by)))
    if made:
        yield from _write(context, flow_id, info.name, jobs, made, additions)
    return count + len(made)


def _entry_again(context: FleetContext, job: FlowJob) -> Operation[Entry | None]:
    """A cancelled job under a new id; None when its call is not known any more."""
    lane = context.keys.lane_of(job.id)
    found = value((yield (inspect.status(lane, (job.id,)),)))[1][0]
    if not isinstance(found, Final) or not found.body:
        return None
    return Entry(lane.id_prefix + new_suffix(), job.band, "", "", found.body)
