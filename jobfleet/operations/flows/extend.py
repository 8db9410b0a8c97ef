"""Add jobs to the flow of a running job.

The addition is recorded in the flow first. Then its jobs are written with guards, the addition is marked as whole, and
the guards are lifted. Finally the joining children wait for the added jobs too, and added jobs of a strict sequence get
places before the children and the jobs behind these. The ids are derived from the running
job, so the next run of it repeats the same steps and continues where the last run stopped. If no run follows, the sweep
of the relay cancels an addition that is not whole, after the job has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.codec import header_or_empty, read_header
from jobfleet.errors import EncodingError, InvalidJob, JobNotFound
from jobfleet.functions.port import FlowAddition
from jobfleet.model import JobStatus, added_suffix
from jobfleet.model.flow import JOBS_MOST, PARENTS_MOST
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import Dependant
from jobfleet.operations.flows.flow import lift
from jobfleet.operations.flows.preparing import first_failure_suffix, prepare_jobs
from jobfleet.operations.flows.record import read, seal_addition
from jobfleet.operations.flows.unblock import addition_name, ids_of, unblock_dependants
from jobfleet.operations.flows.writing import guarded, put_all
from jobfleet.operations.jobs.precedence import is_ordered, precede, waiting_for
from jobfleet.operations.operation import Operation, batches, run_all, value
from jobfleet.store.calls import flow as calls
from jobfleet.store.calls import inspect
from jobfleet.store.keys import PARENTS_KEPT_MS, flow_ttl_ms, is_blocked
from jobfleet.store.records import Final, Found, InRun, InWait


def extend_flow(context: FleetContext, adder: str, flow_id: str, addition: FlowAddition) -> Operation[list[str]]:
    """Add jobs to a flow; return their ids in the order of the addition.

    Args:
        context: The context of the fleet.
        adder: The id of the job that adds them.
        flow_id: The flow of that job.
        addition: The jobs to add.

    Raises:
        InvalidJob: The addition is wrong or too large, the flow is not known any more, or a joining child has started.
        EncodingError: An argument cannot travel.
    """
    name = addition_name(adder, addition.name)
    prepared = yield from prepare_jobs(
        context,
        addition.flow,
        {"flow": flow_id, "added": [adder, addition.name]},
        first=(adder,) if addition.after_this else (),
        suffix=lambda number: added_suffix(adder, addition.name, number),
    )
    jobs, made = prepared.jobs, prepared.dependants
    ids = [job.id for job in jobs]
    order = {node.number: place for place, node in enumerate(addition.flow.order())}
    joins = [ids[order[number]] for number in addition.joins]
    watchers = yield from _watchers(context, adder)
    children = (yield from _children(context, adder, flow_id, watchers)) if joins else []
    on_failure = next((job_id for job_id in watchers if job_id.endswith(f".{first_failure_suffix(flow_id)}")), None)

    def note(stage: int, joined: dict[str, str]) -> Operation[calls.Addition]:
        record = seal_addition(jobs, after_this=addition.after_this, joins=joins, joined=joined)
        return (yield from _note(context, flow_id, name, stage, len(jobs), record))

    before = yield from note(calls.BEGUN, {})
    if before.stage == calls.DONE:
        known = set(ids_of(before.record))
        return [ids[order[number]] for number in range(len(ids)) if ids[order[number]] in known]
    guards = guarded(made)
    yield from put_all(context, made, guards)
    yield from note(calls.WHOLE, {})
    if on_failure is not None:
        yield from _watch(context, adder, ids, on_failure)
    yield from lift(context, guards)
    joined = yield from _join(context, adder, joins, children)
    if children and (ordered := _ordered(made, joins)):
        yield from precede(context.keys, (yield from waiting_for(context.keys, children)), ordered)
    yield from note(calls.DONE, joined)
    return [ids[order[number]] for number in range(len(ids))]


def _watchers(context: FleetContext, adder: str) -> Operation[list[str]]:
    """The ids of the jobs that are registered as waiting for a running job, callbacks included."""
    lane = context.keys.lane_of(adder)
    ids: list[str] = []
    while True:
        page = value((yield (calls.children(lane, adder, skip=len(ids)),)))
        ids += page
        if len(page) < calls.CHUNK:
            return ids


def _watch(context: FleetContext, adder: str, ids: Sequence[str], callback: str) -> Operation[None]:
    """Have the callback of the flow watch added jobs, unless it has started or was cancelled."""
    lane = context.keys.lane_of(callback)
    most = JOBS_MOST + calls.ADDED_MOST
    words = yield from run_all(
        [calls.join(lane, callback, via=adder, parents=part, most=most) for part in batches(ids, calls.CHUNK)]
    )
    if "late" not in words:
        yield from run_all([calls.watch(context.keys.lane_of(job_id), job_id, [callback]) for job_id in ids])


def _note(
    context: FleetContext, flow_id: str, name: str, stage: int, count: int, record: bytes
) -> Operation[calls.Addition]:
    ttl_ms = flow_ttl_ms(context.config)
    call = calls.extend_flow(context.keys, flow_id, name, stage=stage, count=count, record=record, ttl_ms=ttl_ms)
    reply: calls.Addition | int | None = value((yield (call,)))
    if reply is None:
        raise InvalidJob(
            f"Nothing is known of the flow {flow_id!r} any more; nothing can be added to it.", field="flow"
        )
    if isinstance(reply, int):
        raise InvalidJob(
            f"{reply:,} jobs were added to the flow {flow_id!r}, and {count:,} more are too many; "
            f"the maximum is {calls.ADDED_MOST:,}.",
            field="flow",
        )
    return reply


def _children(context: FleetContext, adder: str, flow_id: str, watchers: Sequence[str]) -> Operation[list[str]]:
    """The ids of the jobs that wait for a running job, without the jobs that it has added itself, and callbacks.

    Raises:
        InvalidJob: One of them does not wait any more.
    """
    try:
        jobs = (yield from read(context, flow_id)).jobs
    except JobNotFound:
        jobs = []
    own = next((place for place, job in enumerate(jobs) if job.id == adder), -1)
    ids = [*watchers, *(job.id for job in jobs if own in job.parents and job.added_by != adder)]
    waiting = []
    for job_id in dict.fromkeys(ids):
        found: Found = value((yield (inspect.status(context.keys.lane_of(job_id), (job_id,)),)))[1][0]
        if isinstance(found, InWait) and is_blocked(found.due):
            if _added_by(found) != adder and "callback" not in header_or_empty(found.envelope):
                waiting.append(job_id)
        elif isinstance(found, InWait | InRun):
            status = JobStatus.RUNNING if isinstance(found, InRun) else JobStatus.QUEUED
            raise _late(job_id, f"is {status}")
        elif isinstance(found, Final) and found.status in (JobStatus.COMPLETED, JobStatus.FAILED):
            raise _late(job_id, f"has {found.status}")
    return waiting


def _ordered(made: Sequence[Dependant], joins: Sequence[str]) -> list[str]:
    """The added jobs of strict sequences that the children wait for, directly or through others, by sequence."""
    parents = {one.entry.id: [edge.parent for edge in one.edges] for one in made}
    awaited: set[str] = set()
    left = list(joins)
    while left:
        job_id = left.pop()
        if job_id in parents and job_id not in awaited:
            awaited.add(job_id)
            left += parents[job_id]
    ordered = [one.entry for one in made if one.entry.id in awaited and is_ordered(one.entry.meta)]
    return [entry.id for entry in sorted(ordered, key=lambda entry: _group_in(entry.meta))]


def _group_in(meta: str) -> str:
    return next((line for line in meta.split("\n") if line.startswith("g ")), "")


def _added_by(found: InWait) -> str | None:
    try:
        adder = read_header(found.envelope).get("added", (None,))[0]
    except (EncodingError, TypeError, IndexError):
        return None
    return adder if isinstance(adder, str) else None


def _late(job_id: str, how: str) -> InvalidJob:
    return InvalidJob(f"{job_id} {how} already; it cannot be made to wait for more.", field="join")


def _join(
    context: FleetContext, adder: str, joins: Sequence[str], children: Sequence[str]
) -> Operation[dict[str, str]]:
    """Have children wait for the added jobs; return the policy of the edges of each child.

    Raises:
        InvalidJob: A child does not wait any more, or would wait for too many jobs.
    """
    joined: dict[str, str] = {}
    for child in children:
        lane = context.keys.lane_of(child)
        parts = list(batches(joins, calls.CHUNK))
        words = yield from run_all(
            [calls.join(lane, child, via=adder, parents=part, most=PARENTS_MOST) for part in parts]
        )
        if "full" in words:
            raise InvalidJob(f"{child} would wait for more than {PARENTS_MOST:,} jobs.", field="join")
        if "late" in words:
            raise _late(child, "does not wait")
        joined[child] = words[0]
    watches = [(parent, part) for parent in joins for part in batches(children, calls.CHUNK)]
    endings = yield from run_all([calls.watch(context.keys.lane_of(parent), parent, part) for parent, part in watches])
    for (parent, part), ending in zip(watches, endings, strict=True):
        if ending.state != "watched":  # the added job has ended already
            yield from unblock_dependants(context.keys, parent, ending, part, ttl_ms=PARENTS_KEPT_MS)
    return joined
