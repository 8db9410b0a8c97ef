"""Operators' verbs for jobs that wait: another due time, another priority, another queue. See `verbs` for the form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobfleet.clock import SECOND_US, to_us
from jobfleet.errors import InvalidJob, JobNotFound
from jobfleet.model import (
    JobResult,
    JobStatus,
    Priority,
    seconds,
)
from jobfleet.model.options import LATEST, Seconds
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.filters import Seen, Stream, go_through, smallest
from jobfleet.operations.jobs.selection import Selection
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import has_id, waiting_result
from jobfleet.store.calls import control, inspect
from jobfleet.store.job_rows import InWait
from jobfleet.store.keys import BANDS, Lane

HOLD_US = 60 * SECOND_US
"""For how long a job that is being moved is kept from starting where it was."""
REFUSED = "{} is {}; only a scheduled, queued or retrying job can be moved."
Act = Callable[[list[str]], Operation[tuple[int, set[str]]]]
"""Does something to jobs; answers to how many, and which of them stand where they stood."""
Meant = Callable[[JobResult[Any]], bool]


@dataclass(frozen=True, slots=True)
class Change:
    """Where waiting jobs are to stand.

    Attributes:
        at: Due then, µs since 1970; None for no such wish.
        delay: Due so many µs from now; None for no such wish.
        band: In which band; None to stay in their own.
    """

    at: int | None = None
    delay: int | None = None
    band: int | None = None

    @property
    def when(self) -> str:
        """The due time as the script takes it."""
        if self.delay is not None:
            return f"+{self.delay}"
        return "" if self.at is None else str(self.at)


def change_of(at: datetime | None, delay: Seconds | None, priority: Priority | None) -> Change:
    """Read what a caller wishes.

    Raises:
        InvalidJob: It is nothing, or cannot be.
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
    except (OverflowError, ValueError):  # of years before the first, or after the last
        raise InvalidJob(f"at is {at!r}; give a time within the calendar.", field="at") from None
    if moment >= LATEST:
        raise InvalidJob(f"at is {at!r}; give a time before {LATEST.year}.", field="at")
    return round(moment.timestamp() * SECOND_US)


def reschedule(context: FleetContext, job_id: str, change: Change, by: str | None) -> Operation[bool]:
    """Give a waiting job another due time or priority; False when it runs or has ended.

    Raises:
        JobNotFound: It is not known.
        InvalidJob: It waits for other jobs, and has no due time yet.
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
    """The same for all waiting jobs that a selection means, in bounded batches; how many there were.

    Raises:
        ConfigError: There is no such queue.
    """

    def is_meant(job: JobResult[Any]) -> bool:
        return (not change.when or _is_free(job)) and chosen.has(job)

    every = yield from lanes(context, chosen.queue)
    name = (yield from smallest(every, chosen.indexes)) if chosen.indexes else ""
    count = 0
    for lane in every:
        due = change.at
        if change.delay is not None:  # one moment for all of them, so that none is met again where it was put
            due = value((yield (inspect.counts(lane),))).now + change.delay
        moved = Change(at=due, band=change.band)

        def act(ids: list[str], lane: Lane = lane, moved: Change = moved) -> Operation[tuple[int, set[str]]]:
            letters: str = value((yield (control.reschedule(lane, ids, by=by, when=moved.when, band=moved.band),)))
            return letters.count("s"), {job_id for job_id, letter in zip(ids, letters, strict=True) if letter == "b"}

        if name:
            count += yield from _indexed(context, Stream(lane, name), is_meant, None if dry_run else act, moved)
            continue
        for section in inspect.SECTIONS:
            for start, stop in _ranges(moved, section % BANDS):
                count += yield from _walk(lane, section, is_meant, None if dry_run else act, start, stop)
    return count


def _indexed(
    context: FleetContext, stream: Stream, is_meant: Meant, act: Act | None, place: Change | None = None
) -> Operation[int]:
    """The same as `_walk` for the jobs of an index, wherever they wait but in the place that they are put into."""

    def meant(seen: Seen) -> bool:
        found = seen.found
        if not isinstance(found, InWait) or not is_meant(seen.job):
            return False
        return place is None or place.band not in (None, found.band) or place.at not in (None, found.due)

    def acted(ids: list[str]) -> Operation[int]:
        return len(ids) if act is None else (yield from act(ids))[0]

    return (yield from go_through(context, stream, meant, acted))


def _is_free(job: JobResult[Any]) -> bool:
    """Whether a job waits for nothing but its time and its turn."""
    return job.status is not JobStatus.BLOCKED


def _ranges(change: Change, band: int) -> list[tuple[str, str]]:
    """Where to look in a band, leaving out the place that jobs are put into."""
    if change.band not in (None, band):
        return [("-inf", "+inf")]
    if change.at is None:
        return []
    return [("-inf", f"({change.at}"), (f"({change.at}", "+inf")]


def _walk(
    lane: Lane, section: int, is_meant: Meant, act: Act | None, start: str = "-inf", stop: str = "+inf"
) -> Operation[int]:
    """Go through the waiting jobs of a section by due time, and do something to those meant, at most 50 at once.

    What is done takes them out of the range, or says who stayed. Without anything to do, they are counted.
    """
    count = skip = 0
    while True:
        call = inspect.waiting(lane, section, start=start, stop=stop, skip=skip)
        now, rows = value((yield (call,)))
        meant = [row.id for row in rows if has_id(row) and is_meant(waiting_result(row, now))]
        done, stay = (len(meant), set(meant)) if act is None or not meant else (yield from act(meant))
        count += done
        if len(rows) < inspect.CHUNK:
            return count
        last = rows[-1].due
        gone = set(meant) - stay
        left = sum(row.due == last and row.id not in gone for row in rows)
        start, skip = str(last), left + (skip if start == str(last) else 0)
