"""Move jobs to another queue."""

from __future__ import annotations

from typing import Any

from jobfleet.errors import DuplicateJob, EncodingError, InvalidJob, JobfleetError, JobNotFound
from jobfleet.model import (
    JobResult,
    JobStatus,
    check_queue,
    split_id,
)
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.filters import Stream, smallest
from jobfleet.operations.jobs.moved_job import MovingJob, enqueue_moved, moved_entry
from jobfleet.operations.jobs.reschedule import HOLD_US, REFUSED, _indexed, _is_free, _walk
from jobfleet.operations.jobs.selection import Selection
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import result_of
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.paused import due_of
from jobfleet.store.job_rows import InWait
from jobfleet.store.retention import TOMBSTONE_MS


def move(context: FleetContext, job_id: str, queue: str, by: str | None) -> Operation[str]:
    """Let a waiting job wait in another queue, as a new job with an id derived from its own; answer that.

    It is written there before it is closed here, so nothing is lost in between. If that is all that happened,
    the same call again finishes it; until then, for at least a minute, it does not start here.

    Raises:
        JobNotFound: It is not known.
        InvalidJob: It runs or has ended, or is in that queue already.
        DuplicateJob: A job of that queue holds its unique key.
        EncodingError: Its envelope cannot be read.
    """
    check_queue(queue)
    lane = context.keys.lane_of(job_id)
    if lane.queue == queue:
        raise InvalidJob(f"{job_id} is in {queue!r} already.", field="queue")
    seen = value((yield (inspect.explain(lane, job_id),)))
    result = result_of(job_id, seen.found, seen.now, limits=context.limits)
    if result.moved_to is not None and split_id(result.moved_to).queue == queue:
        return result.moved_to
    if not isinstance(seen.found, InWait) or result.status is JobStatus.BLOCKED:
        raise InvalidJob(REFUSED.format(job_id, result.status))
    waiting = seen.found
    job = MovingJob(job_id, waiting.band, str(due_of(waiting.due)), seen.meta, waiting.envelope, bool(waiting.tries))
    entry = yield from moved_entry(context, job, queue)
    is_held = waiting.due < seen.now + HOLD_US  # one that is withheld does not start anyway
    if is_held:
        hold = control.reschedule(lane, (job_id,), by=by, when=f"+{HOLD_US}")
        if value((yield (hold,))) != "s":
            raise InvalidJob(f"{job_id} was started, or ended, in this very moment; it was not moved.")
    try:
        yield from enqueue_moved(context, job_id, entry)
    except JobfleetError:
        if is_held:
            yield (control.reschedule(lane, (job_id,), by=by, when=str(waiting.due)),)
        raise
    letter = value((yield (_closing(context, job_id, by, entry.id),)))
    if letter == "f":
        yield from _check_it_was_moved(context, job_id, by, entry.id)
    return entry.id


def _closing(context: FleetContext, job_id: str, by: str | None, moved_to: str = "") -> Call[str]:
    lane = context.keys.lane_of(job_id)
    return control.cancel(context.keys, lane, (job_id,), by=by, ttl_ms=TOMBSTONE_MS, moved_to=moved_to)


def _check_it_was_moved(context: FleetContext, job_id: str, by: str | None, moved_to: str) -> Operation[None]:
    """Take the new job back if the old one was ended by somebody else in that very moment.

    Raises:
        InvalidJob: It was.
    """
    seen = value((yield (inspect.explain(context.keys.lane_of(job_id), job_id),)))
    result = result_of(job_id, seen.found, seen.now, limits=context.limits)
    if result.moved_to != moved_to:
        value((yield (_closing(context, moved_to, by),)))
        raise InvalidJob(REFUSED.format(job_id, result.status))


def move_many(context: FleetContext, chosen: Selection, queue: str, by: str | None, *, dry_run: bool) -> Operation[int]:
    """The same for all waiting jobs that a selection means, wherever they are but in that queue; how many there were.

    Raises:
        ConfigError: There is no such queue to move from.
    """
    check_queue(queue)

    def act(ids: list[str]) -> Operation[tuple[int, set[str]]]:
        count, stay = 0, set()
        for job_id in ids:
            try:
                yield from move(context, job_id, queue, by)
                count += 1
            except (DuplicateJob, EncodingError):
                stay.add(job_id)
            except InvalidJob as error:
                if error.field:  # else it was started, or ended, in between
                    stay.add(job_id)
            except JobNotFound:
                continue
        return count, stay

    def is_meant(job: JobResult[Any]) -> bool:
        return _is_free(job) and chosen.has(job)

    every = [lane for lane in (yield from lanes(context, chosen.queue)) if lane.queue != queue]
    name = (yield from smallest(every, chosen.indexes)) if chosen.indexes else ""
    count = 0
    for lane in every:
        if name:
            count += yield from _indexed(context, Stream(lane, name), is_meant, None if dry_run else act)
            continue
        for section in inspect.SECTIONS:
            count += yield from _walk(lane, section, is_meant, None if dry_run else act)
    return count
