"""Enqueue, read, list, cancel and retry flows; enqueue a job with its callbacks.

The jobs that wait for no other job of the flow are written with guards (`writing`). When all jobs are written, the
record of the flow is marked as whole, and the guards are lifted. If a producer dies in between, the sweep of the relay
reads the record: it lifts the guards of a whole flow. Of a flow that is not whole no job has started; it cancels the
guarded jobs, and with them the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from jobfleet.clock import moment
from jobfleet.codec import amended, header_or_empty
from jobfleet.model import Job, JobResult, JobStatus, Receipt, new_suffix
from jobfleet.model.flow import Flow
from jobfleet.model.status import check_number
from jobfleet.model.templates import EXISTING
from jobfleet.operations.dead_letters import replay
from jobfleet.operations.durability import confirmed_receipt, durably, uncertain
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import (
    POLICIES,
    Dependant,
    block,
    check_parents,
    edges_of,
    held_by,
    parents_in_header,
    receipt_of,
    refuse_displacing,
    start,
)
from jobfleet.operations.flows.preparing import prepare_callbacks, prepare_jobs
from jobfleet.operations.flows.record import (
    FlowInfo,
    FlowJob,
    FlowPart,
    FlowRecords,
    StoredFlow,
    read,
    row_of,
    seal_flow,
)
from jobfleet.operations.flows.unblock import is_whole, unblock, unblock_dependants
from jobfleet.operations.flows.writing import guarded, put_ahead, put_all, put_unique
from jobfleet.operations.jobs.cancel import cancel_ids
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.jobs.parents import cancelling_parent
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.jobs.prepare import Uniqueness
from jobfleet.operations.operation import BulkOperation, Operation, T, batches, run_all, value
from jobfleet.operations.payloads import carried
from jobfleet.operations.verb import Id, jobs_sentence, verb
from jobfleet.store.calls import flow as calls
from jobfleet.store.calls import inspect
from jobfleet.store.keys import PARENTS_KEPT_MS, flow_ttl_ms
from jobfleet.store.records import Entry, Final, Holder


def enqueue(context: FleetContext, flow: Flow) -> BulkOperation[FlowInfo]:
    """Enqueue a flow.

    Raises:
        InvalidJob: The flow is empty, is too large, has a cycle, or has a job that displaces the holder of its unique
            key; nothing is written.
        DuplicateJob: Another job holds the unique key of a job with ``on_conflict="raise"``; no job has started.
        EncodingError: An argument cannot be encoded; nothing is written.
        DurabilityUnavailable: The server cannot provide the durability of a job; nothing is written.
        DurabilityUncertain: The durability of a job was not reached; it has the id of the flow.
    """
    made = yield from prepare_jobs(context, flow, {"flow": flow.id})
    if made.dependants.keys and (known := (yield from _written_before(context, flow))) is not None:
        return known
    writing = _Writing(context, flow.id, flow.name, made.rows, made.labels, made.dependants, on_failure=made.on_failure)
    if levels := made.dependants.levels:
        at, is_reached = yield from durably(context, made.dependants[0].lane, levels, writing.run())
        if not is_reached:
            raise uncertain(context, max(levels), flow.id)
        jobs = writing.shared(made.jobs)
    elif made.dependants.keys:
        at = yield from writing.run()
        jobs = writing.shared(made.jobs)
    elif context.is_spread:  # calls of one trip reach the nodes of a cluster in any order, so a trip has few
        at, jobs = (yield from writing.run()), made.jobs
    else:
        at, jobs = yield from writing.run_ahead(lambda: made.jobs)
    return FlowInfo(flow.id, flow.name, moment(at), tuple(jobs), is_read=False, on_failure=made.on_failure)


def _written_before(context: FleetContext, flow: Flow) -> Operation[FlowInfo | None]:
    """The flow if it is stored as a whole: a unique key that was free then may have another holder now."""
    kept = value((yield (calls.read_flow(context.keys, flow.id),)))
    if not is_whole(kept):
        return None
    stored = yield from read(context, flow.id)
    return FlowInfo(flow.id, stored.name, None, tuple(stored.jobs), is_read=False, on_failure=stored.on_failure)


def write(
    context: FleetContext,
    flow_id: str,
    name: str,
    jobs: Sequence[FlowJob],
    made: Sequence[Dependant],
    folded: Sequence[str] = (),
    on_failure: str | None = None,
) -> Operation[int]:
    """Write new jobs of a flow, and start it; return the time of Redis, µs since 1970.

    Args:
        context: The context of the fleet.
        flow_id: The id of the flow.
        name: The label of the flow.
        jobs: All its jobs.
        made: The new jobs.
        folded: The stored names of the additions whose jobs are among `jobs`.
        on_failure: The id of its callback; None if it has none.
    """
    rows = [(*row_of(job), job.added_by) if job.added_by else row_of(job) for job in jobs]
    labels = {job.id: job.label for job in jobs if job.label}
    shared = [job.id for job in jobs if job.is_shared]
    return _Writing(context, flow_id, name, rows, labels, made, folded, on_failure, shared).run()


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
        on_failure: The id of its callback; None if it has none.
        shared: The ids of the jobs that are not its own.
    """

    def __init__(
        self,
        context: FleetContext,
        flow_id: str,
        name: str,
        rows: Sequence[Sequence[Any]],
        labels: Mapping[str, str],
        made: Sequence[Dependant],
        folded: Sequence[str] = (),
        on_failure: str | None = None,
        shared: Sequence[str] = (),
    ) -> None:
        self._context = context
        self._flow_id = flow_id
        self._made = made
        self._held: dict[str, str] = {}
        self._has_keys = any(one.unique is not None for one in made)
        every = [one.entry.id for one in made] if self._has_keys else guarded(made)
        # The guard of the callback is lifted first: it must not be the last of what the callback waits for.
        self._first = [job_id for job_id in every if job_id == on_failure]
        self._guards = [job_id for job_id in every if job_id != on_failure]
        self._name, self._rows, self._labels, self._shared = name, rows, labels, shared
        self._folded, self._on_failure = folded, on_failure
        self._record = self._sealed()

    def _sealed(self) -> FlowRecords:
        lane_of, held = self._context.keys.lane_of, self._held
        last = list({lane_of(job_id): job_id for job_id in self._guards}.values())
        rows, labels, shared = self._rows, self._labels, self._shared
        if held:  # a holder waits for no job of the flow
            rows = [(held[row[0]], *row[1:3], (), (), *row[5:]) if row[0] in held else row for row in rows]
            labels = {held.get(job_id, job_id): label for job_id, label in labels.items()}
            shared = [*shared, *self._others]
        return seal_flow(self._name, rows, labels, last, self._folded, self._on_failure, shared)

    @property
    def _others(self) -> set[str]:
        """The holders that are not jobs of the flow itself: two of its jobs may have the same key."""
        return set(self._held.values()) - {row[0] for row in self._rows}

    def shared(self, jobs: Iterable[FlowJob]) -> list[FlowJob]:
        """The jobs of the flow, with the holders of unique keys in place of jobs that were not written."""
        held, others = self._held, self._others
        return [
            replace(job, id=held[job.id], parents=(), otherwise=(), is_shared=held[job.id] in others)
            if job.id in held
            else job
            for job in jobs
        ]

    def run(self) -> Operation[int]:
        """Write the jobs, and start the flow; return the time of Redis, µs since 1970."""
        yield from self._keep(self._record.begun)
        if self._has_keys:
            self._held = yield from put_unique(self._context, self._made)
            self._guards = [job_id for job_id in self._guards if job_id not in self._held]
            self._record = self._sealed()
            return (yield from self._start())
        yield from put_all(self._context, self._made, [*self._guards, *self._first])
        return (yield from self._start())

    def run_ahead(self, meanwhile: Callable[[], T]) -> BulkOperation[tuple[int, T]]:
        """Like `run`, but make calls while the server works on those before.

        Args:
            meanwhile: Work for the time in which the server has all calls and this process none.
        """
        yield from self._keep(self._record.begun)
        done = yield from put_ahead(self._context, self._made, [*self._guards, *self._first], meanwhile)
        return (yield from self._start()), done

    def _start(self) -> Operation[int]:
        """Mark the record as whole, and lift the guards."""
        yield from lift(self._context, self._first)
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
    return FlowInfo(flow_id, flow.name, None, tuple(known), on_failure=flow.on_failure)


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
    return FlowPart(flow_id, flow.name, tuple(job.id for job in flow.jobs), begin, tuple(known), flow.on_failure)


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


@verb(
    "flows.cancel", route="/flows/{id}/cancel", command="flow cancel", target=("flow",), result="cancelled",
    done=jobs_sentence("Cancelled, or asked to stop"), is_written=True,
)  # fmt: skip
def cancel(context: FleetContext, flow: Id, by: str | None = None) -> Operation[int]:
    """Cancel the open jobs of a flow, except those that it shares because they hold the unique key of one of its jobs.

    Args:
        flow: The id of the flow.

    Raises:
        JobNotFound: The flow is not known.
    """
    info = yield from get(context, flow)
    open_ones = [
        job.id for job in info.jobs if job.result is not None and not job.result.status.is_final and not job.is_shared
    ]
    # The last job is cancelled first, so that no cancellation has to unblock a dependant.
    count: int = yield from cancel_ids(context, reversed(open_ones), by)
    return count


# Retry a flow: replay its failed jobs, and enqueue again the jobs that were cancelled because of them.
#
# The dependants of a failed job are cancelled page by page, by the process that ended it. A retry may come before
# that is over. Therefore it first cancels the remaining ones itself: a job that is cancelled after the failed job was
# replayed would stay cancelled.


@verb(
    "flows.retry", route="/flows/{id}/retry", command="flow retry", target=("flow",), result="again",
    done=jobs_sentence("Run again"), is_written=True,
)  # fmt: skip
def retry(context: FleetContext, flow: Id, by: str | None = None) -> Operation[int]:
    """Retry a flow from its failed jobs.

    Failed jobs are replayed. Jobs that were cancelled because of them are enqueued again under new ids.

    Args:
        flow: The id of the flow.

    Raises:
        JobNotFound: The flow is not known.
    """
    stored, info = yield from _read(context, flow)
    before: dict[str, list[str]] = {}
    while (doomed := _doomed(info)) and doomed != before:  # their dependants are doomed then
        yield from _cancel(context, doomed)
        before = doomed
        stored, info = yield from _read(context, flow)
    jobs, made = list(info.jobs), []
    for place, job in enumerate(info.jobs):
        if job.result is None or not cancelling_parent(job.result.error):
            continue
        entry = yield from _entry_again(context, job)
        if entry is None:
            continue
        edges = tuple(
            calls.Edge(jobs[parent].id, number, POLICIES[job.otherwise[number]])
            for number, parent in enumerate(job.parents)
        )
        jobs[place] = replace(job, id=entry.id, result=None, is_shared=False)
        made.append(Dependant(context.keys.lane_of(entry.id), entry, edges, _key_again(entry)))
    count = 0
    for job in info.jobs:
        if job.status == JobStatus.FAILED:
            count += bool((yield from replay(context, job.id, by=by)))
    if made:
        yield from write(context, flow, info.name, jobs, made, stored.additions, stored.on_failure)
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
    envelope = yield from carried(context, new_id, found.body)
    key = header_or_empty(envelope).get("unique")
    return Entry(new_id, job.band, "", f"u {key}" if isinstance(key, str) else "", envelope)


def _key_again(entry: Entry) -> Uniqueness | None:
    """The unique key of a job that is enqueued again. Its scope is not stored, so it is held while the job is open."""
    return Uniqueness(entry.meta[2:], "", EXISTING, None) if entry.meta else None


# Enqueue a job with its callbacks.
#
# The job is written with a guard, an extra edge that blocks it. Then its callbacks are written and registered, and
# the guard is lifted last. So the job cannot start before its callbacks are known, and a producer that dies in
# between has enqueued nothing: the sweep of the relay cancels the job, and with it the callbacks.


def submit_with_callbacks(context: FleetContext, job: Job) -> Operation[Receipt]:
    """Enqueue a job with callbacks, which may wait for other jobs.

    Raises:
        UnknownParent: A parent is not known.
        InvalidJob: A callback is wrong, or `on_conflict` is ``replace`` or ``debounce``.
        DuplicateJob: Another job holds its unique key, and the job has ``on_conflict="raise"``.
        EncodingError: An argument, or metadata, cannot travel.
        DurabilityUnavailable: The server cannot provide the job's durability; nothing was written.
        DurabilityUncertain: The level was not reached.
    """
    edges = edges_of(job.depends_on or ())
    sent = yield from prepare(context, job.without_parents())
    if sent.unique is not None:
        refuse_displacing(sent.unique.on_conflict, "a job with callbacks")
    callbacks = yield from prepare_callbacks(context, job, sent.entry.id, {})
    ids = {option: one.entry.id for option, one in callbacks.items()}
    fields: dict[str, object] = {**ids}
    if edges:
        fields.update(parents_in_header(context.keys, edges))
        yield from check_parents(context, [edge.parent for edge in edges])
    entry = sent.entry._replace(envelope=amended(sent.entry.envelope, fields))
    made = Dependant(sent.lane, entry, edges, sent.unique, sent.level)
    if not made.level:
        return (yield from _send(context, made, callbacks))
    done = yield from durably(context, made.lane, (made.level,), _send(context, made, callbacks))
    return confirmed_receipt(context, made.level, done)


def _send(context: FleetContext, made: Dependant, callbacks: Mapping[str, Dependant]) -> Operation[Receipt]:
    ids = {option: one.entry.id for option, one in callbacks.items()}
    created = yield from block(made)
    if created is None:
        return receipt_of(made, "g", created=False)._replace(callbacks=ids)
    if isinstance(created, Holder):
        return held_by(made, created)
    made_after = list(callbacks.values())
    guards = guarded(made_after)
    yield from put_all(context, made_after, guards)
    yield from lift(context, guards)
    letter = yield from start(context, made)
    return receipt_of(made, letter, created=created)._replace(callbacks=ids)
