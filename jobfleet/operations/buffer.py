"""Prepare jobs while Redis is unavailable, and enqueue them later, in their order, under the ids that they have."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jobfleet.clock import to_us
from jobfleet.errors import ConfigError, DuplicateJob, FleetFull, InvalidJob, JobfleetError, StoreUnavailable
from jobfleet.model import Job
from jobfleet.model.option_types import FAST
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs import enqueue as conflicts
from jobfleet.operations.jobs.enqueue import check_times
from jobfleet.operations.jobs.prepare import (
    Resolved,
    Submission,
    asks_for_callbacks,
    has_callbacks,
    lane_index,
    resolve_in,
    submission,
)
from jobfleet.operations.lanes import open_queue
from jobfleet.operations.operation import Operation
from jobfleet.store.calls.enqueue import QueueNotCreated, enqueue, parted
from jobfleet.store.keys import Lane
from jobfleet.store.records import Answer, Entry, Holder

UNCONFIRMED = "the server must confirm its durability"


class NotBuffered(StoreUnavailable):
    """Redis is unavailable, and this job cannot be kept in the local buffer."""


def not_buffered(job: Job, reason: StoreUnavailable, why: str) -> NotBuffered:
    """Make the error of a job that cannot be kept; it says why Redis is unavailable, and why the job is not kept."""
    return NotBuffered(f"{reason} {job.name!r} was not kept in the local buffer, because {why}.")


def needs_redis(context: FleetContext, job: Job) -> str:
    """Why a job can only be enqueued by Redis itself; empty if it can be kept in the buffer."""
    if job.cron_expression is not None:
        return "a recurring job is an entry in Redis"
    if job.depends_on is not None:
        return "Redis must know the jobs that it waits for"
    return "it has callbacks" if asks_for_callbacks(context, job) else ""


def prepare_offline(context: FleetContext, job: Job, reason: StoreUnavailable) -> Submission:
    """Prepare a job with the queues and functions that this process has read before, however long ago.

    Args:
        context: The context of the fleet.
        job: The job.
        reason: Why Redis is unavailable, for the error.

    Raises:
        NotBuffered: The job needs a read from Redis.
        InvalidJob: An option is wrong.
        EncodingError: An argument, or metadata, cannot travel.
    """
    check_times(job)
    if why := needs_redis(context, job):
        raise not_buffered(job, reason, why)
    function = resolve_in(context, job)
    if function is None:
        if context.published.fleet is None:
            why = "this process knows only the name of its function, and has not read its queue and options yet"
            raise not_buffered(job, reason, why)
        function = Resolved(str(job.function), {})
    if has_callbacks(job, function.options):
        raise not_buffered(job, reason, "it has callbacks")

    def lane_for(queue: str, job: Job, key: str | None = None, group: str | None = None) -> Lane:
        known = context.queues.get(queue)
        if known is not None:
            return context.keys.lane(queue, lane_index(job, queue, known.home, known.total, key, group))
        if key is None and group is None and job.id is None:
            return context.keys.lane(queue, 0)  # every queue has this lane
        named = "unique key" if key is not None else "group" if group is not None else "id"
        why = f"its {named} decides on its lane, and this process has not read the lanes of queue {queue!r} yet"
        raise not_buffered(job, reason, why)

    made = submission(job, function, lane_for, limits=context.limits, windows=context.windows, levels=context.levels)
    # Until a queue has been read, the durability of the fleet is the one that its jobs get.
    own = job.durability or function.options.get("durability")
    is_known = made.lane.queue in context.queues or context.ignores_levels
    if made.level or (own is None and not is_known and context.config.durability != FAST):
        raise not_buffered(job, reason, UNCONFIRMED)
    return made


class Kept(NamedTuple):
    """A job in the buffer.

    Attributes:
        sent: The job as it was prepared.
        at: When it was prepared, in seconds since boot.
    """

    sent: Submission
    at: float


Refusals = dict[int, JobfleetError]
"""The errors of the jobs that Redis refused for good, by place."""
_Part = Sequence[tuple[int, Entry]]


def flush(context: FleetContext, kept: Sequence[Kept], now: float) -> Operation[Refusals]:
    """Enqueue buffered jobs. Safe to repeat: a job that Redis already has is not enqueued again.

    Args:
        context: The context of the fleet.
        kept: The jobs.
        now: The time, in seconds since boot.

    Returns:
        The errors of the jobs that Redis refused for good.

    Raises:
        StoreUnavailable: Redis is still unavailable. Some of the jobs may be enqueued.
        FleetFull: Redis has no memory left for them now.
        ConfigError: Redis refuses this client.
    """
    refusals: Refusals = {}
    yield from _open_queues(context, kept, refusals)
    lanes: dict[Lane, list[tuple[int, Entry]]] = {}
    for place, (sent, at) in enumerate(kept):
        if place not in refusals:
            lanes.setdefault(sent.lane, []).append((place, aged(sent.entry, max(0, to_us(now - at)))))
    held: dict[int, Holder] = {}
    yield from _send({lane: deque(ascending(entries)) for lane, entries in lanes.items()}, refusals, held)
    found = [conflicts.Conflict(_with(kept[place].sent, now - kept[place].at), held[place]) for place in held]
    for place, receipt in zip(held, (yield from conflicts.settle(found)), strict=True):
        if receipt.error is not None:
            refusals[place] = _final(receipt.error)
        elif receipt.id != kept[place].sent.entry.id:
            refusals[place] = DuplicateJob(receipt.id)
    return refusals


def aged(entry: Entry, by_us: int) -> Entry:
    """Return an entry whose relative times count from a moment `by_us` later."""
    when, meta = entry.when, entry.meta
    if when.startswith("+"):
        when = _sooner(when, by_us)
    if "x +" in meta:
        lines = (f"x {_sooner(line[2:], by_us)}" if line.startswith("x +") else line for line in meta.split("\n"))
        meta = "\n".join(lines)
    return entry._replace(when=when, meta=meta)


def _sooner(delay: str, by_us: int) -> str:
    return f"+{max(0, int(delay) - by_us)}"


def _with(sent: Submission, seconds: float) -> Submission:
    return sent._replace(entry=aged(sent.entry, max(0, to_us(seconds))))


def _open_queues(context: FleetContext, kept: Sequence[Kept], refusals: Refusals) -> Operation[None]:
    """Open the queues of the jobs; refuse the jobs of a queue that cannot be created, or that has lost lanes."""
    errors: dict[str, JobfleetError] = {}
    for queue in dict.fromkeys(one.sent.lane.queue for one in kept):
        if not context.has_queue(queue):
            try:
                yield from open_queue(context, queue, holds_jobs=True)
            except QueueNotCreated as error:
                errors[queue] = error
    for place, (sent, _) in enumerate(kept):
        queue = sent.lane.queue
        if queue in errors:
            refusals[place] = errors[queue]
        elif sent.lane.index >= context.queues[queue].total:
            refusals[place] = InvalidJob(
                f"Queue {queue!r} was created again with fewer lanes while the job was in the buffer.", field="queue"
            )


def ascending(entries: _Part) -> Iterator[_Part]:
    """Split the entries of a lane into parts for one call each, with ascending ids.

    The jobs of one call are due at the same moment, and Redis then sorts them by id.
    """
    first = 0
    for place in range(1, len(entries) + 1):
        if place == len(entries) or entries[place][1].id <= entries[place - 1][1].id:
            yield from parted(entries[first:place], lambda one: one[1])
            first = place


def _send(parts: dict[Lane, deque[_Part]], refusals: Refusals, held: dict[int, Holder]) -> Operation[None]:
    """Send the calls of each lane one after the other: of two calls in flight, the second might run first.

    The jobs of a call that failed are sent one by one, so that no job spoils another.
    """
    while parts:
        answers = yield [enqueue(lane, [entry for _, entry in left[0]]) for lane, left in parts.items()]
        for (lane, left), answer in zip(list(parts.items()), answers, strict=True):
            part = left.popleft()
            if not isinstance(answer, JobfleetError):
                held |= _holders(part, answer)
            elif len(part) == 1:
                refusals[part[0][0]] = _final(answer)
            else:
                _final(answer)
                left.extendleft([one] for one in reversed(part))
            if not left:
                del parts[lane]


def _holders(part: _Part, answers: Sequence[Answer]) -> dict[int, Holder]:
    return {place: one for (place, _), one in zip(part, answers, strict=True) if isinstance(one, Holder)}


def _final(error: JobfleetError) -> JobfleetError:
    """Return an error that a later attempt would have, too; raise one that may pass."""
    if isinstance(error, StoreUnavailable | FleetFull | ConfigError):
        raise error
    return error
