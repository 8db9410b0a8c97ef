"""Change the due time or the priority of waiting jobs, one job or a selection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobfleet.clock import moment_us, to_us
from jobfleet.errors import InvalidJob, JobNotFound
from jobfleet.model import JobResult, Priority, seconds
from jobfleet.model.option_checks import LATEST
from jobfleet.model.option_types import Seconds
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.matching.filters import Stream, smallest
from jobfleet.operations.jobs.matching.selection import Selection
from jobfleet.operations.jobs.waiting import Acted, is_free, walk_index, walk_section
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.store.calls import control, inspect
from jobfleet.store.keys import BANDS, Lane
from jobfleet.store.records import InWait


@dataclass(frozen=True, slots=True)
class Change:
    """The new due time and the new priority of waiting jobs.

    Attributes:
        at: The due time, µs since 1970; None to leave it to `delay`.
        delay: The due time, µs from now; None to leave it to `at`.
        band: The priority band; None to keep it.
    """

    at: int | None = None
    delay: int | None = None
    band: int | None = None

    @property
    def when(self) -> str:
        """The due time as the script takes it; empty to keep it."""
        if self.delay is not None:
            return f"+{self.delay}"
        return "" if self.at is None else str(self.at)


def change_of(at: datetime | None, delay: Seconds | None, priority: Priority | None) -> Change:
    """Check what a caller wants to change.

    Args:
        at: The due time.
        delay: Seconds from now until the due time.
        priority: The priority.

    Raises:
        InvalidJob: Nothing is given, both `at` and `delay` are given, or a value is wrong.
    """
    if at is None and delay is None and priority is None:
        raise InvalidJob("Nothing to change; give at, delay or priority.")
    if at is not None and delay is not None:
        raise InvalidJob("at and delay are both given; give one.", field="delay")
    try:
        band = None if priority is None else Priority(priority).band
    except ValueError:
        raise InvalidJob(f"priority is {priority!r}; use Priority.LOW … CRITICAL.", field="priority") from None
    return Change(
        at=None if at is None else _due_us(at),
        delay=None if delay is None else to_us(seconds(delay, field="delay")),
        band=band,
    )


def _due_us(at: datetime) -> int:
    if not isinstance(at, datetime):
        raise InvalidJob(f"at is {at!r}; give a datetime.", field="at")
    try:
        moment = at.astimezone(UTC)
    except (OverflowError, ValueError):  # the year is before 1 or after 9999
        raise InvalidJob(f"at is {at!r}; give a time within the calendar.", field="at") from None
    if moment >= LATEST:
        raise InvalidJob(f"at is {at!r}; give a time before {LATEST.year}.", field="at")
    return moment_us(moment)


def reschedule(context: FleetContext, job_id: str, change: Change, by: str | None) -> Operation[bool]:
    """Change the due time or the priority of a waiting job; False when it runs or has ended.

    Raises:
        JobNotFound: The job is not known.
        InvalidJob: The job waits for other jobs, so it has no due time yet.
    """
    lane = context.keys.lane_of(job_id)
    letter = value((yield (control.reschedule(lane, (job_id,), by=by, when=change.when, band=change.band),)))
    if letter == "u":
        raise JobNotFound(job_id)
    if letter == "b":
        raise InvalidJob(f"{job_id} waits for other jobs; only its priority can be changed.")
    return bool(letter == "s")


def reschedule_many(
    context: FleetContext, chosen: Selection, change: Change, by: str | None, *, dry_run: bool
) -> Operation[int]:
    """Change the waiting jobs of a selection in bounded batches; return how many were changed.

    Args:
        context: The context of the fleet.
        chosen: The selection.
        change: The new due time or priority.
        by: Who asks; None for nobody in particular.
        dry_run: Only count the jobs.

    Raises:
        ConfigError: The queue of the selection does not exist.
    """

    def is_meant(job: JobResult[Any]) -> bool:
        return (not change.when or is_free(job)) and chosen.has(job)

    every = yield from lanes(context, chosen.queue)
    name = (yield from smallest(every, chosen.indexes)) if chosen.indexes else ""
    count = 0
    for lane in every:
        due = change.at
        if change.delay is not None:  # one time for all jobs, so that none is met again at its new place
            due = value((yield (inspect.counts(lane),))).now + change.delay
        moved = Change(at=due, band=change.band)

        def act(ids: list[str], lane: Lane = lane, moved: Change = moved) -> Operation[Acted]:
            letters: str = value((yield (control.reschedule(lane, ids, by=by, when=moved.when, band=moved.band),)))
            stayed = {job_id for job_id, letter in zip(ids, letters, strict=True) if letter == "b"}
            return Acted(letters.count("s"), stayed)

        def is_there(found: InWait, moved: Change = moved) -> bool:
            return moved.band in (None, found.band) and moved.at in (None, found.due)

        if name:
            count += yield from walk_index(context, Stream(lane, name), is_meant, None if dry_run else act, is_there)
            continue
        for section in inspect.SECTIONS:
            for start, stop in _ranges(moved, section % BANDS):
                count += yield from walk_section(lane, section, is_meant, None if dry_run else act, start, stop)
    return count


def _ranges(change: Change, band: int) -> list[tuple[str, str]]:
    """The ranges of due times to search in a band, without the place that jobs are moved to."""
    if change.band not in (None, band):
        return [("-inf", "+inf")]
    if change.at is None:
        return []
    return [("-inf", f"({change.at}"), (f"({change.at}", "+inf")]
