"""Read what is known of jobs by id."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from jobfleet.errors import JobNotFound
from jobfleet.model import JobResult
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.results import result_of
from jobfleet.store.calls import control, inspect
from jobfleet.store.keys import Lane


def poll(context: FleetContext, job_id: str) -> Operation[JobResult[Any]]:
    """What is known of a job.

    Raises:
        JobNotFound: Nothing is.
    """
    lane = context.keys.lane_of(job_id)
    found = value((yield (inspect.status(lane, (job_id,)),)))
    return result_of(job_id, found[1][0], found[0], limits=context.limits)


def poll_many(context: FleetContext, ids: Sequence[str]) -> Operation[list[JobResult[Any] | None]]:
    """What is known of some jobs; None for those unknown."""
    lanes: dict[Lane, list[str]] = {}
    for job_id in ids:
        with suppress(JobNotFound):  # of what is no id, nothing is known either
            lanes.setdefault(context.keys.lane_of(job_id), []).append(job_id)
    chunks = [(lane, part) for lane, members in lanes.items() for part in batches(members, inspect.CHUNK)]
    answers = yield [inspect.status(lane, part) for lane, part in chunks]
    known: dict[str, JobResult[Any]] = {}
    for (_, part), answer in zip(chunks, answers, strict=True):
        now, found = value([answer])
        for job_id, one in zip(part, found, strict=True):
            with suppress(JobNotFound):
                known[job_id] = result_of(job_id, one, now, limits=context.limits)
    return [known.get(job_id) for job_id in ids]


def listen(context: FleetContext, job_id: str) -> Operation[None]:
    """Leave the mark without which a lane's events are not published; it lasts a minute."""
    value((yield (control.listen(context.keys.lane_of(job_id)),)))
