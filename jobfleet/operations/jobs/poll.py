"""Read jobs by id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from jobfleet.errors import InvalidJob, JobfleetError, JobNotFound
from jobfleet.model import JobResult
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.payloads import with_value, with_values
from jobfleet.operations.rebuilt import rebuilt_in
from jobfleet.operations.results import result_of
from jobfleet.store.calls import control, inspect
from jobfleet.store.keys import Lane
from jobfleet.store.records import Found, InRun, InWait


def by_lane(jobs: Iterable[tuple[Lane, str]]) -> list[tuple[Lane, list[str]]]:
    """Group jobs by their lanes, in parts that one `inspect.status` reads."""
    grouped: dict[Lane, list[str]] = {}
    for lane, job_id in jobs:
        grouped.setdefault(lane, []).append(job_id)
    return [(lane, part) for lane, members in grouped.items() for part in batches(members, inspect.CHUNK)]


def poll(context: FleetContext, job_id: str) -> Operation[JobResult[Any]]:
    """Read a job.

    Raises:
        JobNotFound: The job is not known.
        BadSignature, UnknownKey: Its record is sealed, and is not accepted or cannot be opened here.
    """
    lane = context.keys.lane_of(job_id)
    found = value((yield (inspect.status(lane, (job_id,)),)))
    result = result_of(job_id, found[1][0], found[0], limits=context.limits, is_checked=True, marks_stored=True)
    return rebuilt_in(context, (yield from with_value(context, result)))


def poll_many(
    context: FleetContext, ids: Sequence[str], *, has_values: bool = True
) -> Operation[list[JobResult[Any] | None]]:
    """Read jobs; None for each unknown job.

    Args:
        context: The names and settings of the fleet.
        ids: The jobs.
        has_values: Whether results that are in the payload store are read there.

    Raises:
        InvalidJob: `ids` is a text, or holds something that is not a text.
    """
    if isinstance(ids, str):
        raise InvalidJob(f"ids is {ids!r:.100}; give a list of ids.", field="ids")
    jobs: list[tuple[Lane, str]] = []
    for job_id in ids:
        with suppress(JobNotFound):  # a text that is not an id names no job
            jobs.append((context.keys.lane_of(job_id), job_id))
    chunks = by_lane(jobs)
    answers = yield [inspect.status(lane, part) for lane, part in chunks]
    known: dict[str, JobResult[Any]] = {}
    for (_, part), answer in zip(chunks, answers, strict=True):
        now, rows = value([answer])
        for job_id, one in zip(part, rows, strict=True):
            with suppress(JobNotFound):
                known[job_id] = result_of(job_id, one, now, limits=context.limits, marks_stored=True)
    if has_values:
        found = yield from with_values(context, list(known.values()))
        known = {job_id: rebuilt_in(context, one) for job_id, one in zip(known, found, strict=True)}
    return [known.get(job_id) for job_id in ids]


def poll_ended(
    context: FleetContext, jobs: Iterable[tuple[Lane, str]], *, marks: Iterable[Lane] = ()
) -> Operation[dict[str, JobResult[Any] | Exception]]:
    """Read those of some jobs that have ended; for an unknown or unreadable job the error.

    Args:
        context: The names and settings of the fleet.
        jobs: The jobs, each with its lane.
        marks: Lanes that publish their events for the next minute.
    """
    marking = [control.listen(lane) for lane in marks]
    chunks = by_lane(jobs)
    answers = yield [*marking, *(inspect.status(lane, part) for lane, part in chunks)]
    ended: dict[str, JobResult[Any] | Exception] = {}
    for (_, part), answer in zip(chunks, answers[len(marking) :], strict=True):
        if isinstance(answer, JobfleetError):
            ended |= dict.fromkeys(part, answer)
            continue
        now, found = answer
        for job_id, one in zip(part, found, strict=True):
            if not isinstance(one, InRun | InWait):
                ended[job_id] = _result_or_error(context, job_id, one, now)
    values = yield from with_values(context, list(ended.values()))
    return {
        job_id: rebuilt_in(context, one) if isinstance(one, JobResult) else one
        for job_id, one in zip(ended, values, strict=True)
    }


def _result_or_error(context: FleetContext, job_id: str, found: Found, now: int) -> JobResult[Any] | Exception:
    try:
        return result_of(job_id, found, now, limits=context.limits, is_checked=True, marks_stored=True)
    except Exception as error:  # noqa: BLE001 - one job that cannot be read must not cost the others
        return error


def listen(context: FleetContext, job_id: str) -> Operation[None]:
    """Have the lane of a job publish its events for the next minute."""
    value((yield (control.listen(context.keys.lane_of(job_id)),)))
