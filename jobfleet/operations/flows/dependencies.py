"""Enqueue a job that waits for other jobs.

The parents are read first, so an unknown parent is refused before anything is written. Then the job is written with a
guard, an extra edge that blocks it. Its parents are registered, and the guard is lifted last. So the job cannot start
before all parents are registered, and a producer that dies in between has enqueued nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jobfleet.codec import amended
from jobfleet.errors import InvalidJob, JobNotFound, UnknownParent
from jobfleet.model import After, Job, JobStatus, Receipt
from jobfleet.model.flow import PARENTS_MOST
from jobfleet.model.option_types import Items
from jobfleet.model.spec import parent_mark
from jobfleet.model.templates import DEBOUNCE, EXISTING, RAISE, REPLACE
from jobfleet.operations.durability import confirmed_receipt, durably
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.unblock import unblock, unblock_dependants
from jobfleet.operations.jobs.enqueue import answer, prepare
from jobfleet.operations.jobs.prepare import Uniqueness, is_later
from jobfleet.operations.operation import Operation, batches, by_lane, value
from jobfleet.store.calls import flow, inspect
from jobfleet.store.keys import PARENTS_KEPT_MS, Keyspace, Lane
from jobfleet.store.records import Answer, Entry, Holder, Unknown

POLICIES = {"cancel": "c", "run": "r", "wait": "w"}
MUST_COMPLETE = ("c", "w", "~s")
"""The policies of parents without whose completion a job does not run; `~s` is that of `on_success`."""


class Dependant(NamedTuple):
    """A prepared job that waits for other jobs.

    Attributes:
        lane: The lane that it is sent to.
        entry: The entry that is sent.
        edges: The jobs that it waits for, in order, each once.
        unique: Its unique key; None when it has none.
        level: The durability that must be confirmed; empty for ``fast``.
    """

    lane: Lane
    entry: Entry
    edges: tuple[flow.Edge, ...]
    unique: Uniqueness | None = None
    level: str = ""


def edges_of(parents: Items[Any]) -> tuple[flow.Edge, ...]:
    """Convert `depends_on` (ids, handles, receipts, or `After` with a policy) to edges.

    Raises:
        InvalidJob: An item is of another type, or there are more than 10,000.
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


def parents_in_header(keys: Keyspace, edges: Sequence[flow.Edge]) -> dict[str, int | bytes]:
    """What the header of a job says about its parents. In a fleet with keys, the worker checks that they completed."""
    if keys.seals is None:
        return {"parents": len(edges)}
    required = [parent_mark(edge.parent) for edge in edges if edge.policy in MUST_COMPLETE]
    return {"parents": len(edges), "required": b"".join(required)}


def submit(context: FleetContext, job: Job) -> Operation[Receipt]:
    """Enqueue a job that waits for other jobs.

    Raises:
        UnknownParent: A parent is not known.
        InvalidJob: `depends_on` has an item that is not a job, or `on_conflict` is ``replace`` or ``debounce``.
        DuplicateJob: Another job holds its unique key, and the job has ``on_conflict="raise"``.
        EncodingError: An argument, or metadata, cannot travel.
        DurabilityUnavailable: The server cannot provide the job's durability; nothing was written.
        DurabilityUncertain: The level was not reached.
    """
    return (yield from submit_prepared(context, (yield from _written(context, job))))


def submit_prepared(context: FleetContext, made: Dependant) -> Operation[Receipt]:
    """Enqueue a prepared job that waits for other jobs.

    Raises:
        UnknownParent: A parent is not known.
        DuplicateJob: Another job holds its unique key, and the job has ``on_conflict="raise"``.
        DurabilityUncertain: The level was not reached.
    """
    yield from check_parents(context, [edge.parent for edge in made.edges])
    if not made.level:
        return (yield from _send(context, made))
    done = yield from durably(context, made.lane, (made.level,), _send(context, made))
    return confirmed_receipt(context, made.level, done)


def _send(context: FleetContext, made: Dependant) -> Operation[Receipt]:
    created = yield from block(made)
    if created is None:
        return receipt_of(made, "g", created=False)
    if isinstance(created, Holder):
        return held_by(made, created)
    return receipt_of(made, (yield from start(context, made)), created=created)


def held_by(made: Dependant, holder: Holder) -> Receipt:
    """The receipt of a job whose unique key another job holds.

    Raises:
        DuplicateJob: The job has ``on_conflict="raise"``.
    """
    assert made.unique is not None  # noqa: S101 - only a job with a unique key can have a holder
    receipt = answer(made.unique, holder)
    if receipt.error is not None:
        raise receipt.error
    return receipt


def receipt_of(made: Dependant, letter: str, *, created: bool) -> Receipt:
    """The receipt of a job that was written.

    Args:
        made: The job.
        letter: Its state, as `start` returns it; g if it was not blocked any more.
        created: Whether it is new.
    """
    if letter == "x":
        status = JobStatus.CANCELLED
    elif letter in "ug":
        status = JobStatus.SCHEDULED if is_later(made.entry.when) else JobStatus.QUEUED
    else:
        status = JobStatus.BLOCKED
    return Receipt(id=made.entry.id, created=created, status=status)


def _written(context: FleetContext, job: Job) -> Operation[Dependant]:
    edges = edges_of(job.depends_on or ())
    sent = yield from prepare(context, job.without_parents())
    if sent.unique is not None:
        refuse_displacing(sent.unique.on_conflict, "a job that waits for others")
    envelope = amended(sent.entry.envelope, parents_in_header(context.keys, edges))
    return Dependant(sent.lane, sent.entry._replace(envelope=envelope), edges, sent.unique, sent.level)


def refuse_displacing(on_conflict: str, what: str) -> None:
    """Refuse a job that would displace the holder of its unique key.

    Args:
        on_conflict: The `on_conflict` of the job.
        what: The kind of job, for the message.

    Raises:
        InvalidJob: `on_conflict` is ``replace`` or ``debounce``.
    """
    if on_conflict in (REPLACE, DEBOUNCE):
        raise InvalidJob(
            f"on_conflict={on_conflict!r} is not for {what}; use {EXISTING!r} or {RAISE!r}.", field="on_conflict"
        )


def refuse_unique(job: Job, what: str, *, is_unique: bool = False) -> None:
    """Refuse a job with a unique key.

    Args:
        job: The job.
        what: The kind of job, for the message.
        is_unique: Whether it is known to have one.

    Raises:
        InvalidJob: The job, or its function, has a unique key.
    """
    if is_unique or job.unique is not None or getattr(job.function, "given", {}).get("unique") is not None:
        raise InvalidJob(f"unique is not for {what}; leave it out.", field="unique")


def check_parents(context: FleetContext, ids: Iterable[str]) -> Operation[None]:
    """Check that every parent is known.

    Raises:
        UnknownParent: A parent is not known.
    """
    jobs: list[tuple[Lane, str]] = []
    for job_id in ids:
        try:
            jobs.append((context.keys.lane_of(job_id), job_id))
        except JobNotFound:
            raise _unknown(job_id) from None
    parts = by_lane(jobs, inspect.CHUNK)
    answers = yield [inspect.status(lane, part) for lane, part in parts]
    for (_, part), reply in zip(parts, answers, strict=True):
        for job_id, found in zip(part, value([reply])[1], strict=True):
            if isinstance(found, Unknown):
                raise _unknown(job_id)


def _unknown(job_id: str) -> UnknownParent:
    return UnknownParent(
        f"No job {job_id!r} to wait for: never enqueued, or its result was deleted.", field="depends_on"
    )


def block(made: Dependant) -> Operation[Answer | None]:
    """Write a job with its guard; return whether it is new, None if it is not blocked any more, or the other holder."""
    created = False
    for part in batches(made.edges, flow.CHUNK) if made.edges else [()]:
        reply: Answer | None = value((yield (flow.block(made.lane, made.entry, part, ttl_ms=PARENTS_KEPT_MS),)))
        if reply is None or isinstance(reply, Holder):
            return reply
        created = created or bool(reply)
    return created


def start(context: FleetContext, made: Dependant) -> Operation[str]:
    """Register the parents of a written job and lift its guard; return its state as the letter of `unblock`."""
    kept = PARENTS_KEPT_MS
    for part in batches(made.edges, flow.CHUNK):
        calls = [flow.watch(context.keys.lane_of(edge.parent), edge.parent, [made.entry.id]) for edge in part]
        endings = [value([reply]) for reply in (yield calls)]
        for edge, ending in zip(part, endings, strict=True):
            if ending.state != "watched":
                done = yield from unblock_dependants(context.keys, edge.parent, ending, [made.entry.id], ttl_ms=kept)
                if done.cancelled:
                    return "x"
    guard = flow.ParentEnd(made.entry.id, flow.GUARD, "completed", b"")
    done = yield from unblock(context.keys, [guard], ttl_ms=kept)
    return done.letters[made.entry.id, flow.GUARD]
