"""List the newest jobs of all queues, and find jobs by a part of their id. Both read a bounded part of each lane."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jobfleet.errors import InvalidJob, JobNotFound
from jobfleet.model import JobResult, JobStatus, split_id, suffix_time_us
from jobfleet.model.spec import PART_LEAST
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.matching.filters import Filter
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.store.calls import inspect

READ_MOST = 1000
"""Most jobs of each kind (waiting per priority, running, ended) that are read per lane."""
SPARE = 4
"""How many times the wanted number is read: jobs with ids of their own are ordered by their due time at first."""
NAMED = 5
"""How many of several fitting jobs are named."""
_NONE = datetime.fromtimestamp(0, UTC)
_KINDS = {JobStatus.RUNNING: "r"}


def newest(context: FleetContext, chosen: Filter, *, limit: int = 50) -> Operation[list[JobResult[Any]]]:
    """List the jobs that were enqueued last, newest first, whatever their queue and their state.

    Args:
        context: The context of the fleet.
        chosen: The filter; without tags, user and session.
        limit: The most jobs to return.

    Raises:
        ConfigError: The queue does not exist.
        InvalidJob: `limit` is not a whole number from 1.
    """
    check_number(limit)
    every = yield from lanes(context, chosen.queue)
    is_narrow = any((chosen.function, chosen.status, chosen.group, chosen.since, chosen.until))
    most = READ_MOST if is_narrow else min(READ_MOST, SPARE * limit)
    kinds = _kinds(chosen.status)
    answers = yield [inspect.recent(lane, limit=most, kinds=kinds) for lane in every]
    made: dict[str, int] = {}
    for answer in answers:
        now, rows = value([answer])
        made |= {job_id: _made(job_id, at, now) for job_id, at in rows.items()}
    found: list[JobResult[Any]] = []
    ordered = sorted(made, key=lambda job_id: (made[job_id], _last_part(job_id)), reverse=True)
    for part in batches(ordered, inspect.CHUNK):
        rows = yield from poll_many(context, part)
        found += [row for row in rows if row is not None and chosen.fits(row)]
        if len(found) >= limit:
            break
    found.sort(key=lambda row: (row.enqueued_at or _NONE, _last_part(row.id)), reverse=True)
    return found[:limit]


def _last_part(job_id: str) -> str:
    """The part of an id by which the jobs that a process enqueues within a millisecond are in order."""
    return job_id.rpartition(".")[2]


def _kinds(status: JobStatus | None) -> str:
    """The kinds of jobs that may have a status."""
    if status is None:
        return "wre"
    return "w" if status.is_waiting else _KINDS.get(status, "e")


def _made(job_id: str, at: int, now: int) -> int:
    """When a job was enqueued, in µs: from its id, else a bound, the due time or the end of the job."""
    try:
        made = suffix_time_us(split_id(job_id).suffix)
    except JobNotFound:  # not an id of jobfleet; `doctor` reports it
        return 0
    return min(at, now) if made is None else made


def full_ids(context: FleetContext, texts: Sequence[str]) -> Operation[list[str]]:
    """Complete ids of which only a part is given, such as the last digits that logs show.

    A part is the end of an id, the beginning of its last part, or a beginning of the id that reaches into its last
    part; the name of a queue alone is not enough. It is looked up among the waiting jobs that are due first and
    last, the running jobs, and the jobs that ended last. An id that is complete, and a text that fits no job, stays as
    it is.

    Args:
        context: The context of the fleet.
        texts: Ids, or parts of ids.

    Raises:
        InvalidJob: A part fits several jobs. The message names some of them.
    """
    partial = [text for text in dict.fromkeys(texts) if not _is_complete(text)]
    if not partial:
        return list(texts)
    known = yield from poll_many(context, partial)
    unknown = [text for text, row in zip(partial, known, strict=True) if row is None and len(text) >= PART_LEAST]
    every = (yield from lanes(context)) if unknown else []
    full: dict[str, str] = {}
    for text in unknown:
        answers = yield [inspect.recent(lane, limit=READ_MOST, kinds="wred", part=text) for lane in every]
        fitting = sorted({job_id for answer in answers for job_id in value([answer])[1]})
        if len(fitting) > 1:
            raise InvalidJob(_ambiguous(text, fitting), field="job_id")
        if fitting:
            full[text] = fitting[0]
    return [full.get(text, text) for text in texts]


def _is_complete(text: str) -> bool:
    """Whether a text is an id that jobfleet has generated."""
    try:
        return suffix_time_us(split_id(text).suffix) is not None
    except JobNotFound:
        return False


def _ambiguous(text: str, fitting: Sequence[str]) -> str:
    more = len(fitting) - NAMED
    named = ", ".join(fitting[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
    return f"{text!r} fits {len(fitting):,} jobs: {named}; give more of the id."
