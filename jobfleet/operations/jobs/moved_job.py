"""The same job in another queue: one rule for `move`, and for a job that ran out of memory.

Another queue means another id, so it is a new job with new budgets. Its id is derived from the old id, so a repeated
move makes no second job. The envelope keeps its arguments, its options and the time of its enqueue. The job keeps its
priority, its group and its unique key. Its expiry stays unless a run of it has started.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jobfleet.codec import amended, read_header
from jobfleet.errors import DuplicateJob, EncodingError
from jobfleet.functions.manifest import read_function
from jobfleet.functions.options import keep_last_in
from jobfleet.model import derived_suffix, split_id, suffix_time_us
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.enqueue import published
from jobfleet.operations.lanes import open_queue
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.payloads import carried
from jobfleet.store.calls import inspect
from jobfleet.store.calls.enqueue import enqueue, indexes_of, keep_index, marked
from jobfleet.store.keys import lane_number
from jobfleet.store.records import Entry, Holder, Unknown
from jobfleet.store.rows import Unreadable, meta_of


class MovingJob(NamedTuple):
    """A job that is to be enqueued in another queue.

    Attributes:
        id: Its id.
        band: Its priority band, 0 to 3.
        when: The due time of the new job, as `Entry.when`; empty for now.
        meta: Its clear record.
        envelope: Its envelope.
        has_started: Whether a run of it has started.
    """

    id: str
    band: int
    when: str
    meta: str
    envelope: bytes
    has_started: bool


def moved_entry(context: FleetContext, job: MovingJob, queue: str) -> Operation[Entry]:
    """Make the entry of the new job; open the queue if it is not known.

    Raises:
        EncodingError: The envelope or the clear record of the job cannot be read.
    """
    if not context.has_queue(queue):
        yield from open_queue(context, queue, holds_jobs=True)
    header = read_header(job.envelope)
    enqueued_at = header.get("enqueued_at") or suffix_time_us(split_id(job.id).suffix) or 0
    # With the time, a later job with the same id gets another new id.
    suffix = derived_suffix(job.id, f"{queue} {enqueued_at}")
    try:
        lines = meta_of(job.meta.encode()).split("\n") if job.meta else []
    except Unreadable as error:
        raise EncodingError(f"{job.id} cannot be moved: {error}.", field="meta") from None
    fields = dict(line.split(" ", 1) for line in lines)
    placement = fields.get("g") or fields.get("u") or suffix
    lane = context.keys.lane(queue, lane_number(placement, context.queues[queue].home))
    lines = [line for line in lines if not line.startswith(("i ", "n ", "k "))]  # in its new queue it gets a new place
    kept = [line for line in lines if not (job.has_started and line.startswith("x "))]
    indexes = indexes_of(header) + (yield from _index_of_function(context, header))
    meta = marked("\n".join(kept), indexes)
    moved_to = lane.id_prefix + suffix
    changes = {"moved_from": job.id, "enqueued_at": enqueued_at}
    if "moved_from" in header:
        changes["origin"] = header.get("origin", header["moved_from"])
    envelope = amended(job.envelope, changes)
    envelope = yield from carried(context, moved_to, envelope)
    return Entry(moved_to, job.band, job.when, meta, envelope)


def _index_of_function(context: FleetContext, header: Mapping[str, Any]) -> Operation[list[str]]:
    """The name of the index of its function, if that keeps only its last results, and the job is in no flow."""
    name = header.get("function")
    if not isinstance(name, str) or "flow" in header:
        return []
    known = context.registry.get(name)
    if known is not None:
        return [keep_index(name)] if "keep_last" in known.given else []
    record = (yield from published(context)).functions.get(name)
    return [keep_index(name)] if record is not None and keep_last_in(read_function(record)) else []


def enqueue_moved(context: FleetContext, job_id: str, entry: Entry) -> Operation[None]:
    """Enqueue the new job, and check that it exists; close the old job only after this.

    Raises:
        DuplicateJob: Another job of the queue holds the unique key.
    """
    lane = context.keys.lane_of(entry.id)
    answer = value((yield (enqueue(lane, (entry,)),)))[0]
    if answer is not True:
        _, (found,) = value((yield (inspect.status(lane, (entry.id,)),)))
        if isinstance(found, Unknown):
            holder = answer.id if isinstance(answer, Holder) else ""
            raise DuplicateJob(holder, f"{job_id} was not moved: a job of {lane.queue!r} holds its unique key.")


def enqueue_in(context: FleetContext, job: MovingJob, queue: str) -> Operation[str]:
    """Enqueue the same job in another queue; return the id of the new job.

    Raises:
        EncodingError: The envelope of the job cannot be read.
        DuplicateJob: Another job of the queue holds the unique key.
    """
    entry = yield from moved_entry(context, job, queue)
    yield from enqueue_moved(context, job.id, entry)
    return entry.id
