"""List jobs, a page at a time, and read a dead letter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobfleet.errors import ConfigError, JobNotFound
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.details import call_of
from jobfleet.operations.jobs.identity import identity_of
from jobfleet.operations.jobs.matching.filters import Filter, Rows, find
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.payloads import readable
from jobfleet.operations.results import LETTERS, letter_result, running_result, waiting_result
from jobfleet.retry.tries import Tries
from jobfleet.store.calls import inspect
from jobfleet.store.keys import BANDS, WITHHELD_BOUNDS, Lane
from jobfleet.store.records import has_id


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter with its decoded arguments.

    Attributes:
        job: The job.
        reason: Why it failed: error, crashed, oom, timeout, expired-lease, discarded, unknown-function, unreadable,
            sequence, newer-schema, upcast, invalid-arguments, payload-unavailable, payload-lost.
        history: One line per run and per replay, oldest first. A line of a run has its number, the time of its end
            (µs since 1970) and what happened. A line of a replay has ``replayed``, the time, who asked (- for nobody
            in particular), and ``edited`` if the arguments were changed.
        args: The positional arguments; None when they cannot be read.
        kwargs: The named arguments; None when they cannot be read.
        unknown_zones: Time zones of the arguments that this machine does not know; such times keep only their offset.
        fingerprint: The fingerprint of its group.
    """

    job: JobResult[Any]
    reason: str
    history: tuple[str, ...]
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any] | None
    unknown_zones: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing.

    Attributes:
        jobs: The jobs.
        cursor: The argument for the next page; empty on the last page.
    """

    jobs: list[JobResult[Any]] = field(default_factory=list)
    cursor: str = ""


def letter(context: FleetContext, job_id: str) -> Operation[Letter]:
    """Read one dead letter.

    Raises:
        JobNotFound: The job has no dead letter.
    """
    lane = context.keys.lane_of(job_id)
    found = value((yield (inspect.letter(lane, job_id),)))
    if found is None:
        raise JobNotFound(job_id, f"No dead letter {job_id!r}.")
    history = Tries.parse(found.tries).history
    call = call_of((yield from readable(context, found.envelope)), limits=context.limits)
    job, group = letter_result(found, limits=context.limits), identity_of(found).fingerprint
    return Letter(job, found.reason, history, *call, fingerprint=group)


def jobs(context: FleetContext, chosen: Filter, *, limit: int = 50, cursor: str = "") -> Operation[Page]:
    """List a page of jobs.

    With a tag, a user or a session the newest job is first. Otherwise running jobs are first, then waiting jobs by
    urgency, then finished jobs, newest first.

    Args:
        context: The context of the fleet.
        chosen: The filter.
        limit: The most jobs per page.
        cursor: `Page.cursor` of the page before; empty for the first page.

    Raises:
        ConfigError: The queue does not exist, or the cursor is not one of an earlier page.
        InvalidJob: `limit` is not a whole number from 1.
    """
    check_number(limit)
    every = yield from lanes(context, chosen.queue)
    if chosen.indexes:
        rows = yield from find(context, every, chosen, limit=limit, cursor=cursor)
        return Page(rows.jobs, rows.cursor)
    status = chosen.status
    sections = [(lane, section) for section in _sections(status) for lane in every]
    start = _start(cursor, sections)
    inner = start.inner
    found: list[JobResult[Any]] = []
    for number in range(start.section, len(sections)):
        lane, section = sections[number]
        while len(found) < limit:
            most = min(limit - len(found), inspect.CHUNK)
            rows = yield from _section(context, lane, section, status, most, inner)
            inner = rows.cursor
            found.extend(row for row in rows.jobs if chosen.fits(row))
            if not inner:
                break
        if inner:
            return Page(found, f"{number}~{inner}")
        if len(found) >= limit and number + 1 < len(sections):
            return Page(found, f"{number + 1}~")
    return Page(found, "")


class _Start(NamedTuple):
    """Where a page begins.

    Attributes:
        section: The number of the section.
        inner: The cursor inside the section; empty for its begin.
    """

    section: int
    inner: str


def _start(cursor: str, sections: list[tuple[Lane, str]]) -> _Start:
    """Read where a cursor points.

    Raises:
        ConfigError: It is not a cursor of an earlier page.
    """
    if not cursor:
        return _Start(0, "")
    match = re.fullmatch(r"(\d{1,6})~(\d{1,12}|\d{1,20}-\d{1,20}\+\d{1,6}|)", str(cursor))
    number = int(match[1]) if match else len(sections)
    if (
        match is None
        or number >= len(sections)
        or (("+" in match[2]) != (sections[number][1] == "finished") and match[2])
    ):
        raise ConfigError(f"cursor is {cursor!r}; give the cursor of the previous page.")
    return _Start(number, match[2])


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
) -> Operation[Rows]:
    """Some jobs of one section, and the cursor of the next ones; empty at the end of the section."""
    if section == "finished":
        return (yield from _finished(context, lane, status, limit, inner))
    skip = int(inner or 0)
    if section == "running":
        now, rows = value((yield (inspect.running(lane, skip=skip, limit=limit),)))
        found = [running_result(row, now) for row in rows if has_id(row)]
    else:
        start = stop = ""
        if section.startswith("withheld"):
            start, stop = WITHHELD_BOUNDS
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
    return Rows([row for row in found if status is None or row.status is status], following)


def _finished(context: FleetContext, lane: Lane, status: JobStatus | None, limit: int, inner: str) -> Operation[Rows]:
    """Some finished jobs. An entry may have several jobs, so the cursor is an entry and a count of its jobs."""
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
    return Rows(found, inner)
