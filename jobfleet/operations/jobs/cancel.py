"""Cancel jobs by id, and erase ended jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jobfleet.codec import header_or_empty, is_record, read_fields
from jobfleet.errors import EncodingError, InvalidJob, JobNotFound
from jobfleet.model import JobResult, JobStatus
from jobfleet.operations import payloads
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.results import result_of
from jobfleet.store.calls import control, ended, flow, inspect
from jobfleet.store.calls.enqueue import indexes_of, keep_index
from jobfleet.store.keys import TOMBSTONE_MS, Lane
from jobfleet.store.records import Dead, DeadLetter, Final, Found, InRun, InWait


def cancel(context: FleetContext, job_id: str, by: str | None) -> Operation[bool]:
    """Cancel a waiting job, or ask a running job to stop; False when the job has ended.

    Raises:
        JobNotFound: No job with this id is known.
    """
    lane = context.keys.lane_of(job_id)
    letter = value((yield (control.cancel(context.keys, lane, (job_id,), by=by, ttl_ms=TOMBSTONE_MS),)))
    if letter == "u":
        raise JobNotFound(job_id)
    return bool(letter != "f")


def cancel_ids(context: FleetContext, ids: Iterable[str], by: str | None) -> Operation[int]:
    """Cancel jobs by id in bounded batches; return how many were cancelled or asked to stop."""
    by_lane: dict[Lane, list[str]] = {}
    for job_id in ids:
        by_lane.setdefault(context.keys.lane_of(job_id), []).append(job_id)
    count = 0
    for lane, members in by_lane.items():
        for part in batches(members, control.CHUNK):
            letters = value((yield (control.cancel(context.keys, lane, part, by=by, ttl_ms=TOMBSTONE_MS),)))
            count += sum(letter in "cr" for letter in letters)
    return count


TURNS = 3
"""The number of attempts if the job changes between the look and the script."""


def forget(context: FleetContext, job_id: str, by: str | None, archived: JobResult[Any] | None) -> Operation[bool]:
    """Erase an ended job in Redis; False when Redis has nothing about it.

    The names of its indexes and its unique key are in its record, so it is read first.

    Args:
        context: The context of the fleet.
        job_id: The job.
        by: Who asks; None for nobody in particular.
        archived: The job as the archive has it; None if it does not.

    Raises:
        JobNotFound: `job_id` is not a job id.
        InvalidJob: The job has not ended, or other jobs wait for it.
        PayloadUnavailable: All is erased but its payloads, whose store cannot be reached.
    """
    lane = context.keys.lane_of(job_id)
    described: dict[str, Any] = {}
    if archived is not None:
        described = {name: getattr(archived, name) for name in ("function", "tags", "user", "session", "unique")}
    for _ in range(TURNS):
        answers = yield (inspect.status(lane, (job_id,)), inspect.letter(lane, job_id))
        now, (found,) = value(answers[:1])
        letter: DeadLetter | None = value(answers[1:])
        if isinstance(found, InWait | InRun):
            status = result_of(job_id, found, now, limits=context.limits).status
            raise InvalidJob(f"{job_id} is {status}; cancel it first, and forget it when it has ended.")
        described |= _described(found, letter)
        call = ended.forget(
            lane,
            job_id,
            by=by,
            indexes=[*indexes_of(described), keep_index(str(described.get("function", "")))],
            key=str(described.get("unique") or ""),
            dependants=(yield from _count_dependants(context, job_id)),
            is_archived=archived is not None,
        )
        known: bool | None = value((yield (call,)))
        if known is not None:
            yield from payloads.forget(context, job_id)
            return known
    raise InvalidJob(f"{job_id} is used by other jobs at this moment; forget it again later.")


def _described(found: Found, letter: DeadLetter | None) -> Mapping[str, Any]:
    """What the records of a job say about it; the later ones replace the earlier ones."""
    bodies = [letter.envelope, letter.record] if letter is not None else []
    if isinstance(found, Final | Dead):
        bodies.append(found.body if isinstance(found, Final) else found.record)
    fields: dict[str, Any] = {}
    for body in bodies:
        try:
            fields |= read_fields(body) if is_record(body) else header_or_empty(body)
        except EncodingError:  # not written by jobfleet, or by a later version
            continue
    return fields


def _count_dependants(context: FleetContext, job_id: str) -> Operation[int]:
    """Return the number of dependants of a job.

    Raises:
        InvalidJob: One of them waits for the end, or for a replay, of the job.
    """
    lane, count = context.keys.lane_of(job_id), 0
    while page := value((yield (flow.children(lane, job_id, skip=count),))):
        count += len(page)
        waiting = _first_waiting((yield from poll_many(context, page)))
        if waiting is not None:
            raise InvalidJob(f"{waiting} waits for {job_id}; cancel it, or wait until it has run, and forget it then.")
    return count


def _first_waiting(jobs: Sequence[JobResult[Any] | None]) -> str | None:
    return next((job.id for job in jobs if job is not None and job.status is JobStatus.BLOCKED), None)
