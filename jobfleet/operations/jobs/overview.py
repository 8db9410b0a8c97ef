"""List waiting jobs and endings over all lanes, and remove old results."""

from __future__ import annotations

from typing import Any

from jobfleet.clock import to_us
from jobfleet.model import JobResult, seconds
from jobfleet.model.option_types import Seconds
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.results import result_of, waiting_result
from jobfleet.store.calls import ended, inspect
from jobfleet.store.keys import BANDS, Lane
from jobfleet.store.records import has_id

BATCHES = 10
"""Finishing batches per read; each holds up to 50 jobs."""


def pending(context: FleetContext, queue: str | None = None, *, limit: int = 100) -> Operation[list[JobResult[Any]]]:
    """List waiting jobs by priority, then by due time; blocked jobs are last within their priority.

    Args:
        context: The context of the fleet.
        queue: The queue; None for all queues.
        limit: The most jobs to return.

    Raises:
        ConfigError: The queue does not exist.
        InvalidJob: `limit` is not a whole number from 0.
    """
    check_number(limit, least=0)
    every = yield from lanes(context, queue)
    found: list[JobResult[Any]] = []
    for band in range(BANDS):
        rows: list[JobResult[Any]] = []
        for lane in every:
            for section in range(band, len(inspect.SECTIONS), BANDS):
                rows += yield from _waiting(lane, section, limit)
        rows.sort(key=lambda row: (row.scheduled_at is None, row.scheduled_at))
        found += rows
        if len(found) >= limit:
            break
    return found[:limit]


def _waiting(lane: Lane, section: int, limit: int) -> Operation[list[JobResult[Any]]]:
    """Read the first jobs of a section, a page at a time."""
    rows: list[JobResult[Any]] = []
    skip = 0
    while len(rows) < limit:
        size = min(limit - len(rows), inspect.CHUNK)
        now, page = value((yield (inspect.waiting(lane, section, skip=skip, limit=size),)))
        rows += [waiting_result(row, now) for row in page if has_id(row)]
        skip += len(page)
        if len(page) < size:
            break
    return rows


def endings(context: FleetContext, *, limit: int) -> Operation[list[JobResult[Any]]]:
    """List the last jobs that ended, without their return values, newest first.

    Raises:
        InvalidJob: `limit` is not a whole number from 0.
    """
    check_number(limit, least=0)
    every = yield from lanes(context)
    found: list[JobResult[Any]] = []
    for lane in every:
        wanted = yield from _last(lane, limit)
        for part in batches(wanted, ended.CHUNK):
            finals = value((yield (ended.outcomes(lane, part),)))
            for job_id, final in zip(part, finals, strict=True):
                if final is not None:
                    found.append(result_of(job_id, final, 0, limits=context.limits))
    found.sort(key=lambda row: row.completed_at.timestamp() if row.completed_at else 0.0, reverse=True)
    return found[:limit]


def _last(lane: Lane, limit: int) -> Operation[list[str]]:
    """The ids of the last jobs that ended in a lane, each once."""
    wanted: dict[str, None] = {}
    before = "+"
    while len(wanted) < limit:
        rows = value((yield (inspect.finished(lane, before=before, limit=BATCHES),)))
        if not rows:
            break
        wanted |= dict.fromkeys(lane.id_prefix + row.suffix for row in rows)
        before = f"({rows[-1].entry}"
    return list(wanted)[:limit]


def clean(context: FleetContext, older_than: Seconds, queue: str | None = None) -> Operation[int]:
    """Remove the results of jobs that ended more than `older_than` seconds ago; return how many jobs that were.

    It works in bounded batches. An id is remembered as long as its enqueue may be repeated, even if `older_than` is
    shorter.

    Raises:
        ConfigError: The queue does not exist.
        InvalidJob: `older_than` is not a duration.
    """
    age = max(seconds(older_than, field="older_than"), *context.windows)
    gone = 0
    for lane in (yield from lanes(context, queue)):
        now = value((yield (inspect.counts(lane),))).now
        before = now - to_us(age)
        start = f"({before // 1000 + 1}-0"
        while rows := value((yield (inspect.finished(lane, before=start, limit=BATCHES),))):
            for part in batches(dict.fromkeys(lane.id_prefix + row.suffix for row in rows), ended.CHUNK):
                gone += value((yield (ended.clean(lane, part, before_us=before),)))
            start = f"({rows[-1].entry}"
    return gone
