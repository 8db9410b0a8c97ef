"""Retry a flow: replay its failed jobs, and enqueue again the jobs that were cancelled because of them.

The dependants of a failed job are cancelled page by page, by the process that ended it. A retry may come before that is
over. Therefore it first cancels the remaining ones itself: a job that is cancelled after the failed job was replayed
would stay cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from jobfleet.model import JobStatus, new_suffix
from jobfleet.operations.dead.replay import replay
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import POLICIES, Dependant
from jobfleet.operations.flows.flow import with_results, write
from jobfleet.operations.flows.info import FlowInfo
from jobfleet.operations.flows.record import FlowJob, StoredFlow, read
from jobfleet.operations.flows.unblock import unblock_dependants
from jobfleet.operations.flows.writing import run_all
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.payloads import carried
from jobfleet.store.calls import flow as calls
from jobfleet.store.calls import inspect
from jobfleet.store.keys import PARENTS_KEPT_MS
from jobfleet.store.records import Entry, Final

BECAUSE = "cancelled by parent:"


def retry(context: FleetContext, flow_id: str, by: str | None) -> Operation[int]:
    """Retry a flow; return how many jobs run again.

    A cancelled job stays cancelled; a job with a new id takes its place in the flow.

    Raises:
        JobNotFound: The flow is not known.
    """
    stored, info = yield from _read(context, flow_id)
    before: dict[str, list[str]] = {}
    while (doomed := _doomed(info)) and doomed != before:  # their dependants are doomed then
        yield from _cancel(context, doomed)
        before = doomed
        stored, info = yield from _read(context, flow_id)
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
    count = 0
    for job in info.jobs:
        if job.status == JobStatus.FAILED:
            count += bool((yield from replay(context, job.id, by)))
    if made:
        yield from write(context, flow_id, info.name, jobs, made, stored.additions)
    return count + len(made)


class _Seen(NamedTuple):
    """A flow at one moment: as it is stored, and with the results of its jobs.

    Both are of one read. Otherwise an addition could be marked as folded although its jobs are missing.
    """

    stored: StoredFlow
    info: FlowInfo


def _read(context: FleetContext, flow_id: str) -> Operation[_Seen]:
    stored = yield from read(context, flow_id)
    return _Seen(stored, (yield from with_results(context, flow_id, stored)))


def _doomed(info: FlowInfo) -> dict[str, list[str]]:
    """Return the blocked jobs of which a parent did not complete, by that parent."""
    doomed: dict[str, list[str]] = {}
    for job in info.jobs:
        parent = _failed_parent(job, info) if job.status == JobStatus.BLOCKED else None
        if parent is not None:
            doomed.setdefault(parent, []).append(job.id)
    return doomed


def _cancel(context: FleetContext, doomed: Mapping[str, Sequence[str]]) -> Operation[None]:
    """Notify dependants of the ending of a parent, as the process that ended it does."""
    pairs = [(parent, part) for parent, children in doomed.items() for part in batches(children, calls.CHUNK)]
    endings = yield from run_all([calls.watch(context.keys.lane_of(parent), parent, part) for parent, part in pairs])
    for (parent, part), ending in zip(pairs, endings, strict=True):
        if ending.state != "watched":
            yield from unblock_dependants(context.keys, parent, ending, part, ttl_ms=PARENTS_KEPT_MS)


def _failed_parent(job: FlowJob, info: FlowInfo) -> str | None:
    """Return the id of the first parent that ended in a way that cancels the job."""
    for parent, otherwise in zip(job.parents, job.otherwise, strict=True):
        if otherwise == "cancel" and info.jobs[parent].has_stopped:
            return info.jobs[parent].id
    return None


def _entry_again(context: FleetContext, job: FlowJob) -> Operation[Entry | None]:
    """The entry of a cancelled job under a new id; None when its envelope is not stored any more."""
    lane = context.keys.lane_of(job.id)
    found = value((yield (inspect.status(lane, (job.id,)),)))[1][0]
    if not isinstance(found, Final) or not found.body:
        return None
    new_id = lane.id_prefix + new_suffix()
    return Entry(new_id, job.band, "", "", (yield from carried(context, new_id, found.body)))
