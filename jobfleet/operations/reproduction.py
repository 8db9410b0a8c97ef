"""Read all that a run of a job needs, without changing anything, to run its code again elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jobfleet.codec import header_or_empty
from jobfleet.codec.frames import is_record
from jobfleet.errors import JobNotFound
from jobfleet.model import JobResult
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.details import envelope_of
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.payloads import whole, with_value
from jobfleet.operations.results import result_of
from jobfleet.store.calls import flow, inspect
from jobfleet.store.calls.inspect import Explained
from jobfleet.store.calls.run import steps
from jobfleet.store.records import DeadLetter, opened_ending

ParentEnd = tuple[str, str, bytes]
"""A parent's id, its status, and the record of its end."""


class StoredRun(NamedTuple):
    """What is stored about a job, for a run of its code.

    Attributes:
        job: Its state.
        envelope: Its envelope with its arguments; empty if they are not stored any more.
        steps: The encoded results of its steps and checkpoints.
        parents: How the jobs ended that it has waited for, in order.
    """

    job: JobResult[Any]
    envelope: bytes
    steps: Mapping[str, bytes]
    parents: list[ParentEnd]


def stored_run(context: FleetContext, job_id: str) -> Operation[StoredRun]:
    """Read a job for a run of its code.

    Raises:
        JobNotFound: The job is not known.
        PayloadLost, PayloadUnavailable: The payload store does not have its arguments, or is away.
    """
    lane = context.keys.lane_of(job_id)
    answers = yield (
        inspect.explain(lane, job_id),
        inspect.letter(lane, job_id),
        steps(lane, job_id),
        flow.parents(lane, job_id),
    )
    seen: Explained = value(answers[:1])
    letter: DeadLetter | None = value(answers[1:2])
    result = result_of(job_id, seen.found, seen.now, limits=context.limits, marks_stored=True)
    job = yield from with_value(context, result)
    envelope = envelope_of(seen, letter)
    if not header_or_empty(envelope):
        envelope = b""
    else:
        envelope = yield from whole(context, envelope)
    parents = yield from _parents(context, value(answers[3:]))
    return StoredRun(job, envelope, value(answers[2:3]), parents)


def _parents(context: FleetContext, states: list[flow.ParentState]) -> Operation[list[ParentEnd]]:
    """How parents ended. Large results are read from their own keys, and from the payload store."""
    rows: list[ParentEnd] = []
    for state in states:
        ending, status = state.record, state.status
        if not ending and status != "gone":
            (ending,) = value((yield (flow.results(context.keys.lane_of(state.parent), (state.parent,)),)))
        if context.keys.seals is not None and ending:
            ending = opened_ending(context.keys.seals, state.parent, ending)
        line, newline, record = ending.partition(b"\n")
        if record and is_record(record):
            record = yield from whole(context, record)
        status = status or line.partition(b" ")[0].decode()  # it has ended, and the dependant does not know yet
        rows.append((state.parent, status, line + newline + record))
    return rows


def require(stored: StoredRun, archived: bytes) -> bytes:
    """The envelope of a job: from Redis, else from the archive.

    Raises:
        JobNotFound: Neither has it.
    """
    envelope = stored.envelope or archived
    if not envelope:
        job = stored.job
        raise JobNotFound(
            job.id,
            f"{job.id} is {job.status}, and its arguments are not stored any more: Redis keeps those of open jobs and "
            "of dead letters, an archive (archive_url) those of all jobs.",
        )
    return envelope
