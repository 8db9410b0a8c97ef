"""Move waiting jobs to another queue."""

from __future__ import annotations

from typing import Any

from jobfleet.clock import SECOND_US
from jobfleet.errors import (
    DuplicateJob,
    EncodingError,
    InvalidJob,
    JobfleetError,
    JobNotFound,
)
from jobfleet.model import JobResult, JobStatus, check_queue, split_id
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.matching.filters import Stream, smallest
from jobfleet.operations.jobs.matching.selection import Selection
from jobfleet.operations.jobs.moved_job import MovingJob, enqueue_moved, moved_entry
from jobfleet.operations.jobs.precedence import is_ordered, precede, waiting_for
from jobfleet.operations.jobs.signal import carry_signals, has_steps
from jobfleet.operations.jobs.waiting import Acted, is_free, walk_index, walk_section
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import result_of
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.keys import TOMBSTONE_MS, due_of_score
from jobfleet.store.records import InWait

HOLD_US = 60 * SECOND_US
"""For how long a moving job is kept from starting in its old queue, µs."""
REFUSED = "{} is {}; only a scheduled, queued or retrying job can be moved."


def move(context: FleetContext, job_id: str, queue: str, by: str | None) -> Operation[str]:
    """Move a waiting job to another queue, as a new job with an id derived from the old id; return the new id.

    The new job is written before the old job is closed, so the job cannot be lost. If the process dies in between, or
    Redis does not answer, the same call finishes the move; the old job does not start for at least a minute.

    Raises:
        JobNotFound: The job is not known.
        InvalidJob: The job runs, has ended, is in that queue already, or has steps, which a move would lose.
        DuplicateJob: A job of that queue holds the unique key.
        EncodingError: The envelope cannot be read.
    """
    check_queue(queue)
    lane = context.keys.lane_of(job_id)
    if lane.queue == queue:
        raise InvalidJob(f"{job_id} is in {queue!r} already.", field="queue")
    seen = value((yield (inspect.explain(lane, job_id),)))
    result = result_of(job_id, seen.found, seen.now, limits=context.limits)
    if result.moved_to is not None and split_id(result.moved_to).queue == queue:
        yield from carry_signals(context, job_id, result.moved_to, by)
        return result.moved_to
    if not isinstance(seen.found, InWait) or result.status is JobStatus.BLOCKED:
        raise InvalidJob(REFUSED.format(job_id, result.status))
    if seen.wait is not None or (yield from has_steps(context, job_id)):
        state = "has stored steps" if seen.wait is None else "waits in a run of its own"
        raise InvalidJob(
            f"{job_id} {state}; a move would lose its steps, and its next run would repeat them. Let it end in its "
            "queue, or cancel it and enqueue a new job.",
            field="queue",
        )
    waiting = seen.found
    due = str(due_of_score(waiting.due))
    job = MovingJob(job_id, waiting.band, due, seen.meta, waiting.envelope, bool(waiting.tries))
    entry = yield from moved_entry(context, job, queue)
    _, *dependants = (yield from waiting_for(context.keys, [job_id])) if is_ordered(entry.meta) else [job_id]
    is_held = waiting.due < seen.now + HOLD_US  # a withheld job does not start anyway
    if is_held:
        hold = control.reschedule(lane, (job_id,), by=by, when=f"+{HOLD_US}")
        if value((yield (hold,))) != "s":
            raise InvalidJob(f"{job_id} was started, or ended, in this very moment; it was not moved.")
    try:
        yield from enqueue_moved(context, job_id, entry)
    except JobfleetError:
        if is_held:
            yield (control.reschedule(lane, (job_id,), by=by, when=due),)
        raise
    letter = value((yield (_closing(context, job_id, by, entry.id),)))
    if letter == "f":
        yield from _check_it_was_moved(context, job_id, by, entry.id)
    yield from carry_signals(context, job_id, entry.id, by)  # the old job takes no more of them
    yield from precede(context.keys, dependants, [entry.id])  # of a repetition, a sweep does it
    return entry.id


def _closing(context: FleetContext, job_id: str, by: str | None, moved_to: str = "") -> Call[str]:
    lane = context.keys.lane_of(job_id)
    return control.cancel(context.keys, lane, (job_id,), by=by, ttl_ms=TOMBSTONE_MS, moved_to=moved_to)


def _check_it_was_moved(context: FleetContext, job_id: str, by: str | None, moved_to: str) -> Operation[None]:
    """Cancel the new job if somebody else ended the old job at the same moment.

    Raises:
        InvalidJob: The old job has ended otherwise.
    """
    seen = value((yield (inspect.explain(context.keys.lane_of(job_id), job_id),)))
    result = result_of(job_id, seen.found, seen.now, limits=context.limits)
    if result.moved_to != moved_to:
        value((yield (_closing(context, moved_to, by),)))
        raise InvalidJob(REFUSED.format(job_id, result.status))


def move_many(context: FleetContext, chosen: Selection, queue: str, by: str | None, *, dry_run: bool) -> Operation[int]:
    """Move the waiting jobs of a selection to a queue; return how many were moved.

    Args:
        context: The context of the fleet.
        chosen: The selection. Jobs that are in `queue` already are skipped.
        queue: The queue to move to.
        by: Who asks; None for nobody in particular.
        dry_run: Only count the jobs.

    Raises:
        ConfigError: The queue of the selection does not exist.
        InvalidJob: `queue` is not a queue name.
    """
    check_queue(queue)

    def act(ids: list[str]) -> Operation[Acted]:
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
        return Acted(count, stay)

    def is_meant(job: JobResult[Any]) -> bool:
        return is_free(job) and chosen.has(job)

    every = [lane for lane in (yield from lanes(context, chosen.queue)) if lane.queue != queue]
    name = (yield from smallest(every, chosen.indexes)) if chosen.indexes else ""
    count = 0
    for lane in every:
        if name:
            count += yield from walk_index(context, Stream(lane, name), is_meant, None if dry_run else act)
            continue
        for section in inspect.SECTIONS:
            count += yield from walk_section(lane, section, is_meant, None if dry_run else act)
    return count
