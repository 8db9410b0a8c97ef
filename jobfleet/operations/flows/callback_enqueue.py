"""Enqueue a job with its callbacks.

The job is written with a guard, an extra edge that blocks it. Then its callbacks are written and registered, and the
guard is lifted last. So the job cannot start before its callbacks are known, and a producer that dies in between has
enqueued nothing: the sweep of the relay cancels the job, and with it the callbacks.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobfleet.codec import amended
from jobfleet.model import Job, Receipt
from jobfleet.operations.durability import confirmed_receipt, durably
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.callbacks import prepare_callbacks
from jobfleet.operations.flows.dependencies import (
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
from jobfleet.operations.flows.flow import lift
from jobfleet.operations.flows.writing import guarded, put_all
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.operation import Operation
from jobfleet.store.records import Holder


def submit(context: FleetContext, job: Job) -> Operation[Receipt]:
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
