"""Jobs that wait for others: the verb that enqueues one. See `verbs` for the form.

The parents are looked at first, so that an unknown one is refused before anything is written. The job is then
put in behind a guard, its parents are named and asked to tell it of their end, and the guard is lifted last:
it cannot start before all of that is done, and a producer that dies in between has enqueued nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jobfleet.codec import amended
from jobfleet.errors import InvalidJob, JobNotFound, UnknownParent
from jobfleet.graph import PARENTS_MOST
from jobfleet.model import After, Job, JobStatus, Receipt
from jobfleet.model.unique import DEBOUNCE, EXISTING, RAISE, REPLACE
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.unblock import unblock, unblock_dependants
from jobfleet.operations.jobs.conflicts import answer
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.jobs.uniqueness import Uniqueness
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.store.calls import flow, inspect
from jobfleet.store.job_rows import Unknown
from jobfleet.store.keys import Lane
from jobfleet.store.records import Answer, Entry, Holder
from jobfleet.store.retention import PARENTS_KEPT_MS

POLICIES = {"cancel": "c", "run": "r", "wait": "w"}


@dataclass(frozen=True, slots=True)
class Dependant:
    """A job that is to wait, written down.

    Attributes:
        lane: Where it goes.
        entry: What goes there.
        edges: Whom it waits for, in order, each once.
        unique: Its unique key, if it has one.
    """

    lane: Lane
    entry: Entry
    edges: tuple[flow.Edge, ...]
    unique: Uniqueness | None = None


def edges_of(parents: Sequence[Any]) -> tuple[flow.Edge, ...]:
    """Whom a job waits for: ids, handles, receipts, or `After` with a policy.

    Raises:
        InvalidJob: One of them is none of these, or there are too many.
    """
    edges: dict[str, flow.Edge] = {}
    for given in parents:
        after = given if isinstance(given, After) else After(given)
        job_id = after.job if isinstance(after.job, str) else getattr(after.job, "id", None)
        if not isinstance(job_id, str):
            raise InvalidJob(f"depends_on holds {given!r}; give ids, handles or After(…).", field="depends_on")
        edges.setdefault(job_id, flow.Edge(job_id, len(edges), POLICIES[after.otherwise]))
    if len(edges) > PARENTS_MOST:
        raise InvalidJob(f"depends_on holds {len(edges):,} jobs; the maximum is {PARENTS_MOST:,}.", field="depends_on")
    return tuple(edges.values())


def submit(context: FleetContext, job: Job) -> Operation[Receipt]:
    """Enqueue a job that waits for others.

    Raises:
        UnknownParent: Nothing is known of one of them.
        InvalidJob: `depends_on` holds what is no job, or the job is to displace the holder of its unique key.
        DuplicateJob: Another job holds its unique key, and it asked to be told so.
    """
    made = yield from _written(context, job)
    yield from check_parents(context, [edge.parent for edge in made.edges])
    created, letter = yield from put(context, made)
    if isinstance(created, Holder):
        assert made.unique is not None  # noqa: S101 - else none could hold its key
        receipt = answer(made.unique, created)
        if receipt.error is not None:
            raise receipt.error
        return receipt
    status = JobStatus.BLOCKED
    if letter in "ux":
        status = JobStatus.CANCELLED if letter == "x" else JobStatus.SCHEDULED if made.entry.when else JobStatus.QUEUED
    return Receipt(id=made.entry.id, created=created, status=status)


def _written(context: FleetContext, job: Job) -> Operation[Dependant]:
    edges = edges_of(job.depends_on or ())
    sent = yield from prepare(context, job.without_parents())
    if sent.unique is not None:
        refuse_displacing(sent.unique.on_conflict, "a job that waits for others")
    envelope = amended(sent.entry.envelope, {"parents": len(edges)})
    return Dependant(sent.lane, sent.entry._replace(envelope=envelope), edges, sent.unique)


def refuse_displacing(on_conflict: str, what: str) -> None:
    """Refuse a job that would displace the holder of its unique key where that is not to be had.

    Raises:
        InvalidJob: It would.
    """
    if on_conflict in (REPLACE, DEBOUNCE):
        raise InvalidJob(
            f"on_conflict={on_conflict!r} is not for {what}; use {EXISTING!r} or {RAISE!r}.", field="on_conflict"
        )


def refuse_unique(job: Job, what: str) -> None:
    """Refuse a unique key where none is kept.

    Raises:
        InvalidJob: The job, or its function, has one.
    """
    if job.unique is not None or getattr(job.function, "given", {}).get("unique") is not None:
        raise InvalidJob(f"unique is not for {what}; leave it out.", field="unique")


def check_parents(context: FleetContext, ids: Iterable[str]) -> Operation[None]:
    """See that something is known of every parent.

    Raises:
        UnknownParent: Nothing is of one.
    """
    by_lane: dict[Lane, list[str]] = {}
    for job_id in ids:
        try:
            by_lane.setdefault(context.keys.lane_of(job_id), []).append(job_id)
        except JobNotFound:
            raise _unknown(job_id) from None
    parts = [(lane, part) for lane, members in by_lane.items() for part in batches(members, inspect.CHUNK)]
    answers = yield [inspect.status(lane, part) for lane, part in parts]
    for (_, part), said in zip(parts, answers, strict=True):
        for job_id, found in zip(part, value([said])[1], strict=True):
            if isinstance(found, Unknown):
                raise _unknown(job_id)


def _unknown(job_id: str) -> UnknownParent:
    return UnknownParent(
        f"No job {job_id!r} to wait for: never enqueued, or its result was deleted.", field="depends_on"
    )


def put(context: FleetContext, made: Dependant) -> Operation[tuple[Answer, str]]:
    """Put a job in behind its guard, name its parents, lift the guard.

    Answers whether it is new, or who holds its unique key; and what became of it: u it waits no more, b it waits,
    x it was cancelled.
    """
    kept, created = PARENTS_KEPT_MS, False
    for part in batches(made.edges, flow.CHUNK):
        said = value((yield (flow.block(made.lane, made.entry, part, ttl_ms=kept),)))
        if said is None:
            return False, "b"
        if isinstance(said, Holder):
            return said, "b"
        created = created or bool(said)
    for part in batches(made.edges, flow.CHUNK):
        calls = [flow.watch(context.keys.lane_of(edge.parent), edge.parent, [made.entry.id]) for edge in part]
        endings = [value([said]) for said in (yield calls)]
        for edge, ending in zip(part, endings, strict=True):
            if ending.state != "watched":
                heard = yield from unblock_dependants(context.keys, edge.parent, ending, [made.entry.id], ttl_ms=kept)
                if heard.doomed:
                    return created, "x"
    guard = flow.ParentEnd(made.entry.id, flow.GUARD, "completed", b"")
    heard = yield from unblock(context.keys, [guard], ttl_ms=kept)
    return created, heard.letters[made.entry.id, flow.GUARD]
