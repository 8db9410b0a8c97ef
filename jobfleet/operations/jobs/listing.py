"""Listings: pages of jobs, dead letters. See `verbs` for the form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jobfleet.codec import open_envelope, zones_lost
from jobfleet.errors import ConfigError, EncodingError, JobNotFound
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.asking import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.filters import Filter, find
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.results import LETTERS, has_id, letter_result, running_result, waiting_result
from jobfleet.retry import Tries
from jobfleet.store.calls import inspect
from jobfleet.store.calls.paused import WITHHELD
from jobfleet.store.keys import BANDS, Lane
from jobfleet.store.records import BLOCKED

LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, opened.

    Attributes:
        job: What is known of the job.
        reason: Why it failed: error, crashed, oom, timeout, expired-lease, discarded, unknown-function, unreadable.
        history: One line a run: its number, when it ended (µs), what happened; oldest first. One a replay: replayed,
            when, by whom (- for nobody in particular), and ``edited`` when its arguments were changed.
        args: Its arguments; None when they cannot be read.
        kwargs: Likewise.
        unknown_zones: Time zones named in them that this machine does not know: such times have their offset alone.
    """

    job: JobResult[Any]
    reason: str
    history: tuple[str, ...]
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any] | None
    unknown_zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing.

    Attributes:
        jobs: Its rows.
        cursor: Where the next page begins; empty on the last.
    """

    jobs: list[JobResult[Any]] = field(default_factory=list)
    cursor: str = ""


def dead(context: FleetContext, queue: str | None = None, *, limit: int = 50) -> Operation[list[JobResult[Any]]]:
    """The newest dead letters of a queue, or of all."""
    check_number(limit, least=0)
    every = yield from lanes(context, queue)
    found: list[JobResult[Any]] = []
    for lane in every:
        before, left = "+", limit
        while left > 0:
            size = min(left, inspect.CHUNK)
            letters = value((yield (inspect.dead(lane, before=before, limit=size),)))
            found.extend(letter_result(letter, limits=context.limits) for letter in letters if has_id(letter))
            if len(letters) < size:
                break
            before, left = f"({letters[-1].entry}", left - size
    found.sort(key=lambda row: row.completed_at or LONG_AGO, reverse=True)
    return found[:limit]


def letter(context: FleetContext, job_id: str) -> Operation[Letter]:
    """One dead letter, opened.

    Raises:
        JobNotFound: There is none of that job.
    """
    lane = context.keys.lane_of(job_id)
    found = value((yield (inspect.letter(lane, job_id),)))
    if found is None:
        raise JobNotFound(job_id, f"No dead letter {job_id!r}.")
    try:
        opened = open_envelope(found.envelope, limits=context.limits)
        args, kwargs, lost = tuple(opened.args), opened.kwargs, zones_lost(found.envelope)
    except EncodingError:
        args, kwargs, lost = None, None, ()
    history = Tries.parse(found.tries).history
    return Letter(letter_result(found, limits=context.limits), found.reason, history, args, kwargs, lost)


def jobs(context: FleetContext, chosen: Filter, *, limit: int = 50, cursor: str = "") -> Operation[Page]:
    """A page of jobs: of a tag, a user or a session the newest first.

    Else running ones come first, then waiting ones by urgency, then finished ones, newest first.

    Args:
        space: The client's context.
        chosen: Which.
        limit: Rows at most.
        cursor: `Page.cursor` of the page before.

    Raises:
        ConfigError: There is no such queue, or no page has answered that cursor.
        InvalidJob: The limit is no whole number from 1.
    """
    check_number(limit)
    every = yield from lanes(context, chosen.queue)
    if chosen.indexes:
        return Page(*(yield from find(context, every, chosen, limit=limit, cursor=cursor)))
    status = chosen.status
    sections = [(lane, section) for section in _sections(status) for lane in every]
    first, inner = _place(cursor, sections)
    rows: list[JobResult[Any]] = []
    for number in range(first, len(sections)):
        lane, section = sections[number]
        while len(rows) < limit:
            found, inner = yield from _section(
                context, lane, section, status, min(limit - len(rows), inspect.CHUNK), inner
            )
            rows.extend(row for row in found if chosen.fits(row))
            if not inner:
                break
        if inner:
            return Page(rows, f"{number}~{inner}")
        if len(rows) >= limit and number + 1 < len(sections):
            return Page(rows, f"{number + 1}~")
    return Page(rows, "")


def _place(cursor: str, sections: list[tuple[Lane, str]]) -> tuple[int, str]:
    """Where a cursor points: which place, and where in it.

    Raises:
        ConfigError: No page has answered it.
    """
    if not cursor:
        return 0, ""
    match = re.fullmatch(r"(\d{1,6})~(\d{1,12}|\d{1,20}-\d{1,20}\+\d{1,6}|)", str(cursor))
    number = int(match[1]) if match else len(sections)
    if (
        match is None
        or number >= len(sections)
        or (("+" in match[2]) != (sections[number][1] == "finished") and match[2])
    ):
        raise ConfigError(f"cursor is {cursor!r}; give the one that the page before answered.")
    return number, match[2]


def _sections(status: JobStatus | None) -> list[str]:
    waiting = [f"waiting{section}" for section in inspect.SECTIONS]
    if status is JobStatus.QUEUED:
        return [*waiting[: inspect.UNBLOCKED], *(f"withheld{band}" for band in range(BANDS))]
    if status is None:
        return ["running", *waiting, "finished"]
    if status is JobStatus.RUNNING:
        return ["running"]
    if status is JobStatus.BLOCKED:
        return waiting[inspect.UNBLOCKED :]
    return waiting[: inspect.UNBLOCKED] if status.is_waiting else ["finished"]


def _section(
    context: FleetContext, lane: Lane, section: str, status: JobStatus | None, limit: int, inner: str
) -> Operation[tuple[list[JobResult[Any]], str]]:
    """Some rows of one place, and where to go on; empty when it is through."""
    if section == "finished":
        return (yield from _finished(context, lane, status, limit, inner))
    skip = int(inner or 0)
    if section == "running":
        now, rows = value((yield (inspect.running(lane, skip=skip, limit=limit),)))
        found = [running_result(row, now) for row in rows if has_id(row)]
    else:
        start = stop = ""
        if section.startswith("withheld"):
            start, stop = str(WITHHELD), f"({BLOCKED}"
        elif status in (JobStatus.SCHEDULED, JobStatus.RETRYING, JobStatus.QUEUED):
            counted = value((yield (inspect.counts(lane),)))
            start = f"({counted.now}" if status is not JobStatus.QUEUED else ""
            stop = str(counted.now) if status is JobStatus.QUEUED else ""
        call = inspect.waiting(
            lane,
            int(section.removeprefix("waiting").removeprefix("withheld")),
            start=start or "-inf",
            stop=stop or "+inf",
            skip=skip,
            limit=limit,
        )
        now, rows = value((yield (call,)))
        found = [waiting_result(row, now) for row in rows if has_id(row)]
    following = str(skip + len(rows)) if len(rows) == limit else ""
    return [row for row in found if status is None or row.status is status], following


def _finished(
    context: FleetContext, lane: Lane, status: JobStatus | None, limit: int, inner: str
) -> Operation[tuple[list[JobResult[Any]], str]]:
    """Finished jobs. Several may end in one entry, so where to go on is an entry, and how many of it were seen."""
    wanted: list[str] = []
    before, _, seen = inner.partition("+")
    inner, before, skip = "", before or "+", int(seen or 0)
    while len(wanted) < limit and not inner:
        rows = value((yield (inspect.finished(lane, before=before, limit=10),)))
        if not rows:
            break
        entry, number = "", 0
        for row in rows:
            entry, number = row.entry, number + 1 if row.entry == entry else 1
            if (entry == before and number <= skip) or not (status is None or LETTERS.get(row.outcome) is status):
                continue
            wanted.append(lane.id_prefix + row.suffix)
            if len(wanted) == limit:
                inner = f"{entry}+{number}"
                break
        before = f"({entry}"
    found: list[JobResult[Any]] = []
    for part in batches(dict.fromkeys(wanted), inspect.CHUNK):
        answers = yield from poll_many(context, part)
        found += [row for row in answers if row is not None and row.status.is_final]
    return found, inner
