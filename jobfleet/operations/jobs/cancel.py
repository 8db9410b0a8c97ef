"""Cancel jobs by id, and erase ended jobs; and what the audit has of a job before an action on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jobfleet.codec import header_or_empty, is_record, read_fields
from jobfleet.errors import EncodingError, InvalidJob, JobNotFound
from jobfleet.model import JobResult, JobStatus, Priority
from jobfleet.model.fields import INDEXED
from jobfleet.operations import payloads
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation, by_lane, value
from jobfleet.operations.results import result_of
from jobfleet.operations.verb import Id, verb
from jobfleet.store.calls import control, ended, flow, inspect
from jobfleet.store.calls.enqueue import indexes_of, keep_index
from jobfleet.store.keys import TOMBSTONE_MS
from jobfleet.store.records import Dead, DeadLetter, Final, Found, InRun, InWait


def state_of(context: FleetContext, values: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    """The state of a job; of one that waits, also its priority and its due time."""
    job_id = values["job_id"]
    seen = value((yield (inspect.explain(context.keys.lane_of(job_id), job_id),)))
    job = result_of(job_id, seen.found, seen.now, limits=context.limits)
    before: dict[str, Any] = {"status": str(job.status)}
    if isinstance(seen.found, InWait):
        band = seen.found.band
        before["priority"] = next((one.name.lower() for one in Priority if one.band == band), "")
        if job.status is not JobStatus.BLOCKED:
            before["due"] = job.scheduled_at
    return before


OF_JOB: Mapping[str, Any] = {"target": ("job_id",), "is_of_one_job": True}
"""What all verbs of a single job have in common."""


@verb(
    "cancel", recorded="job.cancel", route="/jobs/{id}/cancel", result="cancelled", before=state_of,
    is_written=True, done="It was cancelled, or asked to stop.", **OF_JOB,
)  # fmt: skip
def cancel(context: FleetContext, job_id: Id, by: str | None = None) -> Operation[bool]:
    """Cancel a waiting job, or ask a running one to stop.

    Args:
        job_id: The id of the job.

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
    count = 0
    for lane, part in by_lane(((context.keys.lane_of(job_id), job_id) for job_id in ids), control.CHUNK):
        letters = value((yield (control.cancel(context.keys, lane, part, by=by, ttl_ms=TOMBSTONE_MS),)))
        count += sum(letter in "cr" for letter in letters)
    return count


TURNS = 3
"""The number of attempts if the job changes between the look and the script."""


@verb(
    "forget", recorded="job.forget", route="/jobs/{id}/forget", result="forgotten", role="admin", inner=("archived",),
    is_written=True,
    done="{target} was erased.", unchanged="Nothing is known about {target}.", **OF_JOB,
)  # fmt: skip
def forget(
    context: FleetContext, job_id: Id, by: str | None = None, archived: JobResult[Any] | None = None
) -> Operation[bool]:
    """Erase an ended job: its result, call, log, dead letter, indexes and archived rows.

    Args:
        job_id: The id of the job.
        archived: The job as the archive has it; None if it does not. The client erases it there.

    Raises:
        JobNotFound: `job_id` is not a job id.
        InvalidJob: The job has not ended, or other jobs wait for it.
        PayloadUnavailable: All is erased but its payloads, whose store cannot be reached.
    """
    lane = context.keys.lane_of(job_id)
    described: dict[str, Any] = {}
    if archived is not None:
        described = {name: getattr(archived, name) for name in ("function", "unique", *INDEXED)}
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
