"""Operators' verbs for jobs that wait: another due time, another priority, another queue. See `verbs` for the form."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobfleet.client.admin import lanes
from jobfleet.client.indexed import Seen, Stream, go_through, smallest
from jobfleet.client.report import has_id, result_of, waiting_result
from jobfleet.client.selection import Selection
from jobfleet.client.space import Space
from jobfleet.client.verbs import TOMBSTONE_MS, Verb, open_queue, value
from jobfleet.clock import SECOND_US, to_us
from jobfleet.codec import amended, read_header
from jobfleet.errors import DuplicateJob, EncodingError, InvalidJob, JobfleetError, JobNotFound
from jobfleet.model import (
    JobResult,
    JobStatus,
    Priority,
    check_queue,
    derived_suffix,
    seconds,
    split_id,
    suffix_time_us,
)
from jobfleet.model.options import LATEST, Seconds
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.calls.index import indexes_of, marked
from jobfleet.store.calls.paused import due_of
from jobfleet.store.found import InWait, Unknown
from jobfleet.store.keys import BANDS, Lane
from jobfleet.store.standing import Explained
from jobfleet.store.values import Entry

HOLD_US = 60 * SECOND_US
"""For how long a job that is being moved is kept from starting where it was."""

REFUSED = "{} is {}; only a scheduled, queued or retrying job can be moved."

Act = Callable[[list[str]], Verb[tuple[int, set[str]]]]
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


def reschedule(space: Space, job_id: str, change: Change, by: str | None) -> Verb[bool]:
    """Give a waiting job another due time or priority; False when it runs or has ended.

    Raises:
        JobNotFound: It is not known.
        InvalidJob: It waits for other jobs, and has no due time yet.
    """
    lane = space.keys.lane_of(job_id)
    letter = value((yield (control.reschedule(lane, (job_id,), by=by, when=change.when, band=change.band),)))
    if letter == "u":
        raise JobNotFound(job_id)
    if letter == "b":
        raise InvalidJob(f"{job_id} waits for other jobs; only its priority can be changed.")
    return bool(letter == "s")


def reschedule_many(space: Space, chosen: Selection, change: Change, by: str | None, *, dry_run: bool) -> Verb[int]:
    """The same for all waiting jobs that a selection means, in bounded batches; how many there were.

    Raises:
        ConfigError: There is no such queue.
    """

    def is_meant(job: JobResult[Any]) -> bool:
        return (not change.when or _is_free(job)) and chosen.has(job)

    every = yield from lanes(space, chosen.queue)
    name = (yield from smallest(every, chosen.indexes)) if chosen.indexes else ""
    count = 0
    for lane in every:
        due = change.at
        if change.delay is not None:  # one moment for all of them, so that none is met again where it was put
            due = value((yield (inspect.counts(lane),))).now + change.delay
        moved = Change(at=due, band=change.band)

        def act(ids: list[str], lane: Lane = lane, moved: Change = moved) -> Verb[tuple[int, set[str]]]:
            letters: str = value((yield (control.reschedule(lane, ids, by=by, when=moved.when, band=moved.band),)))
            return letters.count("s"), {job_id for job_id, letter in zip(ids, letters, strict=True) if letter == "b"}

        if name:
            count += yield from _indexed(space, Stream(lane, name), is_meant, None if dry_run else act, moved)
            continue
        for section in inspect.SECTIONS:
            for start, stop in _ranges(moved, section % BANDS):
                count += yield from _walk(lane, section, is_meant, None if dry_run else act, start, stop)
    return count


def _indexed(space: Space, stream: Stream, is_meant: Meant, act: Act | None, place: Change | None = None) -> Verb[int]:
    """The same as `_walk` for the jobs of an index, wherever they wait but in the place that they are put into."""

    def meant(seen: Seen) -> bool:
        found = seen.found
        if not isinstance(found, InWait) or not is_meant(seen.job):
            return False
        return place is None or place.band not in (None, found.band) or place.at not in (None, found.due)

    def acted(ids: list[str]) -> Verb[int]:
        return len(ids) if act is None else (yield from act(ids))[0]

    return (yield from go_through(space, stream, meant, acted))


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
) -> Verb[int]:
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


def move(space: Space, job_id: str, queue: str, by: str | None) -> Verb[str]:
    """Let a waiting job wait in another queue, as a new job with an id derived from its own; answer that.

    It is written there before it is closed here, so nothing is lost in between. If that is all that happened,
    the same call again finishes it; until then, for at least a minute, it does not start here.

    Raises:
        JobNotFound: It is not known.
        InvalidJob: It runs or has ended, or is in that queue already.
        DuplicateJob: A job of that queue holds its unique key.
        EncodingError: Its envelope cannot be read.
    """
    check_queue(queue)
    lane = space.keys.lane_of(job_id)
    if lane.queue == queue:
        raise InvalidJob(f"{job_id} is in {queue!r} already.", field="queue")
    seen = value((yield (inspect.explain(lane, job_id),)))
    result = result_of(job_id, seen.found, seen.now, limits=space.limits)
    if result.moved_to is not None and split_id(result.moved_to).queue == queue:
        return result.moved_to
    if not isinstance(seen.found, InWait) or result.status is JobStatus.BLOCKED:
        raise InvalidJob(REFUSED.format(job_id, result.status))
    entry = yield from _entry(space, job_id, queue, seen)
    is_held = seen.found.due < seen.now + HOLD_US  # one that is withheld does not start anyway
    if is_held:
        hold = control.reschedule(lane, (job_id,), by=by, when=f"+{HOLD_US}")
        if value((yield (hold,))) != "s":
            raise InvalidJob(f"{job_id} was started, or ended, in this very moment; it was not moved.")
    try:
        yield from _put_there(space, job_id, entry)
    except JobfleetError:
        if is_held:
            yield (control.reschedule(lane, (job_id,), by=by, when=str(seen.found.due)),)
        raise
    letter = value((yield (_closing(space, job_id, by, entry.id),)))
    if letter == "f":
        yield from _check_it_was_moved(space, job_id, by, entry.id)
    return entry.id


def _put_there(space: Space, job_id: str, entry: Entry) -> Verb[None]:
    """Enqueue the new job, and see that it is there: only then may the old one be closed.

    Raises:
        DuplicateJob: It was not taken, since another job holds its unique key.
    """
    lane = space.keys.lane_of(entry.id)
    if value((yield (enqueue(lane, (entry,)),)))[0] is True:
        return
    _, found = value((yield (inspect.status(lane, (entry.id,)),)))
    if isinstance(found[0], Unknown):
        raise DuplicateJob("", f"{job_id} was not moved: a job of {lane.queue!r} holds its unique key.")


def _closing(space: Space, job_id: str, by: str | None, moved_to: str = "") -> Call[str]:
    lane = space.keys.lane_of(job_id)
    return control.cancel(space.keys, lane, (job_id,), by=by, ttl_ms=TOMBSTONE_MS, moved_to=moved_to)


def _check_it_was_moved(space: Space, job_id: str, by: str | None, moved_to: str) -> Verb[None]:
    """Take the new job back if the old one was ended by somebody else in that very moment.

    Raises:
        InvalidJob: It was.
    """
    seen = value((yield (inspect.explain(space.keys.lane_of(job_id), job_id),)))
    result = result_of(job_id, seen.found, seen.now, limits=space.limits)
    if result.moved_to != moved_to:
        value((yield (_closing(space, moved_to, by),)))
        raise InvalidJob(REFUSED.format(job_id, result.status))


def move_many(space: Space, chosen: Selection, queue: str, by: str | None, *, dry_run: bool) -> Verb[int]:
    """The same for all waiting jobs that a selection means, wherever they are but in that queue; how many there were.

    Raises:
        ConfigError: There is no such queue to move from.
    """
    check_queue(queue)

    def act(ids: list[str]) -> Verb[tuple[int, set[str]]]:
        count, stay = 0, set()
        for job_id in ids:
            try:
                yield from move(space, job_id, queue, by)
                count += 1
            except (DuplicateJob, EncodingError):
                stay.add(job_id)
            except InvalidJob as error:
                if error.field:  # else it was started, or ended, in between
                    stay.add(job_id)
            except JobNotFound:
                continue
        return count, stay

    def is_meant(job: JobResult[Any]) -> bool:
        return _is_free(job) and chosen.has(job)

    every = [lane for lane in (yield from lanes(space, chosen.queue)) if lane.queue != queue]
    name = (yield from smallest(every, chosen.indexes)) if chosen.indexes else ""
    count = 0
    for lane in every:
        if name:
            count += yield from _indexed(space, Stream(lane, name), is_meant, None if dry_run else act)
            continue
        for section in inspect.SECTIONS:
            count += yield from _walk(lane, section, is_meant, None if dry_run else act)
    return count


def _entry(space: Space, job_id: str, queue: str, seen: Explained) -> Verb[Entry]:
    """What is written into the other queue: the same call, due time and priority, with budgets anew."""
    found = seen.found
    assert isinstance(found, InWait)  # noqa: S101 - the caller has looked
    if not space.has_queue(queue):
        yield from open_queue(space, queue)
    header = read_header(found.envelope)
    made = header.get("enqueued_at") or suffix_time_us(split_id(job_id).suffix) or 0
    suffix = derived_suffix(job_id, f"{queue} {made}")  # another one for another life of a caller's own id
    named = dict(line.split(" ", 1) for line in seen.meta.split("\n") if line)
    key = named.get("g") or named.get("u") or suffix  # what its place hangs on
    target = space.keys.lane(queue, zlib.crc32(key.encode()) % space.queues[queue][1])
    envelope = amended(found.envelope, {"moved_from": job_id, "enqueued_at": made})
    lines = seen.meta.split("\n") if seen.meta else []
    kept = [line for line in lines if not (found.tries and line.startswith("x "))]  # started before: it may not expire
    return Entry(
        target.id_prefix + suffix,
        found.band,
        str(due_of(found.due)),
        marked("\n".join(kept), indexes_of(header)),
        envelope,
    )
