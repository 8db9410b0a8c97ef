"""Steer waiting jobs: change their due time or priority, move them, and count the jobs that would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Unpack

from jobfleet.clock import SECOND_US, from_timedelta, moment_us, to_us
from jobfleet.codec import amended, read_header
from jobfleet.errors import DuplicateJob, EncodingError, InvalidJob, JobfleetError, JobNotFound
from jobfleet.functions.manifest import read_function
from jobfleet.functions.options import keep_last_in
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
from jobfleet.model.option_checks import LATEST
from jobfleet.model.option_types import Seconds
from jobfleet.model.status import PriorityName, check_number, read_priority
from jobfleet.operations.audit import Outcome
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.cancel import OF_JOB, state_of
from jobfleet.operations.jobs.enqueue import published
from jobfleet.operations.jobs.matching import (
    NO_FORM,
    RUNNING,
    Acted,
    JobFilters,
    Seen,
    Selection,
    Stream,
    is_free,
    page_of,
    read,
    smallest,
    walk_index,
    walk_section,
)
from jobfleet.operations.jobs.precedence import is_ordered, precede, waiting_for
from jobfleet.operations.jobs.signal import carry_signals, has_steps
from jobfleet.operations.lanes import lanes, open_queue
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.payloads import carried
from jobfleet.operations.results import result_of
from jobfleet.operations.verb import DRY_RUN, At, Duration, Id, To, Urgency, jobs_sentence, verb
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.enqueue import enqueue, indexes_of, keep_index, marked
from jobfleet.store.keys import BANDS, TOMBSTONE_MS, Lane, due_of_score, lane_number
from jobfleet.store.records import Entry, Holder, InWait, Unknown
from jobfleet.store.rows import Unreadable, meta_of


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


def change_of(at: datetime | None, delay: Seconds | None, priority: Priority | PriorityName | None) -> Change:
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
    band = None if priority is None else read_priority(priority).band
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


def _rescheduled(_before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The new due time and the new priority, for the audit."""
    level = values["priority"]
    after = {"delay": from_timedelta(values["delay"]), "due": values["at"], "priority": level}
    if level is not None:
        after["priority"] = getattr(level, "name", f"{level}").lower()
    return {name: one for name, one in after.items() if one is not None}


@verb(
    "reschedule", recorded="job.reschedule", route="/jobs/{id}/reschedule", before=state_of, change=_rescheduled,
    done="It was changed.", unchanged="Nothing was changed: it runs, or has ended.", **OF_JOB,
)  # fmt: skip
def reschedule(
    context: FleetContext,
    job_id: Id,
    *,
    at: At | None = None,
    delay: Duration | None = None,
    priority: Urgency | None = None,
    by: str | None = None,
) -> Operation[bool]:
    """Change the due time, the priority, or both, of a waiting job.

    Args:
        job_id: The id of the job.
        at: The new due time.
        delay: The new due time, counted from now; 0 for at once.
        priority: The new priority.

    Returns:
        False if it runs or has ended.

    Raises:
        JobNotFound: The job is not known.
        InvalidJob: No change is given, or a value is wrong; or the job waits for others, so it has no due time yet.
    """
    change, lane = change_of(at, delay, priority), context.keys.lane_of(job_id)
    letter = value((yield (control.reschedule(lane, (job_id,), by=by, when=change.when, band=change.band),)))
    if letter == "u":
        raise JobNotFound(job_id)
    if letter == "b":
        raise InvalidJob(f"{job_id} waits for other jobs; only its priority can be changed.")
    return bool(letter == "s")


@verb(
    "reschedule_many", recorded="jobs.reschedule", route="/jobs/reschedule", command="reschedule", result="rescheduled",
    inner=(DRY_RUN,), change=_rescheduled, done=jobs_sentence("Rescheduled"), holes=NO_FORM,
)  # fmt: skip
def reschedule_many(
    context: FleetContext,
    *,
    at: At | None = None,
    delay: Duration | None = None,
    priority: Urgency | None = None,
    by: str | None = None,
    dry_run: bool = False,
    **filters: Unpack[JobFilters],
) -> Operation[int]:
    """Change the due time, the priority, or both, of the waiting jobs that match all filters.

    With tags or a free text, such as `user`, only their index is read; otherwise every waiting job is, in bounded
    batches.

    Args:
        at: The new due time.
        delay: The new due time, counted from the start of the call; 0 for at once.
        priority: The new priority.
        dry_run: Only count the jobs.
        filters: Which jobs; see `JobFilters`.

    Returns:
        How many were rescheduled, or would be.

    Raises:
        ConfigError: No filter is given, or the queue does not exist.
        InvalidJob: No change is given, or a value is wrong.
    """
    change, chosen = change_of(at, delay, priority), Selection(**filters)

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


HOLD_US = 60 * SECOND_US
"""For how long a moving job is kept from starting in its old queue, µs."""
REFUSED = "{} is {}; only a scheduled, queued or retrying job can be moved."


@verb(
    "move", recorded="job.move", route="/jobs/{id}/move", result="now", is_written=True, before=state_of,
    change=lambda _, values: {"queue": values["queue"]}, end=lambda new: Outcome("done", after={"id": new}), **OF_JOB,
)  # fmt: skip
def move(context: FleetContext, job_id: Id, queue: To, by: str | None = None) -> Operation[str]:
    """Move a waiting job to another queue, as a new job with an id derived from the old id.

    Its signals go with it. The same request again finishes an interrupted move.

    Args:
        job_id: The id of the job.
        queue: The new queue.

    The new job is written before the old job is closed, so the job cannot be lost. If the process dies in between, or
    Redis does not answer, the old job does not start for at least a minute.

    Raises:
        JobNotFound: The job is not known.
        InvalidJob: The job runs, has ended, is in that queue already, or has steps, which a move would lose.
        DuplicateJob: A job of that queue holds the unique key.
        EncodingError: The envelope cannot be read.
    """
    check_queue(queue)
    lane = context.keys.lane_of(job_id)
    if lane.queue == queue:
        raise InvalidJob(f"{job_id} is in {queue!r} already.", field="queue")
    seen = value((yield (inspect.explain(lane, job_id),)))
    result = result_of(job_id, seen.found, seen.now, limits=context.limits)
    if result.moved_to is not None and split_id(result.moved_to).queue == queue:
        yield from carry_signals(context, job_id, result.moved_to, by)
        return result.moved_to
    if not isinstance(seen.found, InWait) or result.status is JobStatus.BLOCKED:
        raise InvalidJob(REFUSED.format(job_id, result.status))
    if seen.wait is not None or (yield from has_steps(context, job_id)):
        state = "has stored steps" if seen.wait is None else "waits in a run of its own"
        raise InvalidJob(
            f"{job_id} {state}; a move would lose its steps, and its next run would repeat them. Let it end in its "
            "queue, or cancel it and enqueue a new job.",
            field="queue",
        )
    waiting = seen.found
    due = str(due_of_score(waiting.due))
    job = MovingJob(job_id, waiting.band, due, seen.meta, waiting.envelope, bool(waiting.tries))
    entry = yield from moved_entry(context, job, queue)
    _, *dependants = (yield from waiting_for(context.keys, [job_id])) if is_ordered(entry.meta) else [job_id]
    is_held = waiting.due < seen.now + HOLD_US  # a withheld job does not start anyway
    if is_held:
        hold = control.reschedule(lane, (job_id,), by=by, when=f"+{HOLD_US}")
        if value((yield (hold,))) != "s":
            raise InvalidJob(f"{job_id} was started, or ended, in this very moment; it was not moved.")
    try:
        yield from enqueue_moved(context, job_id, entry)
    except JobfleetError:
        if is_held:
            yield (control.reschedule(lane, (job_id,), by=by, when=due),)
        raise
    letter = value((yield (_closing(context, job_id, by, entry.id),)))
    if letter == "f":
        yield from _check_it_was_moved(context, job_id, by, entry.id)
    yield from carry_signals(context, job_id, entry.id, by)  # the old job takes no more of them
    yield from precede(context.keys, dependants, [entry.id])  # of a repetition, a sweep does it
    return entry.id


def _closing(context: FleetContext, job_id: str, by: str | None, moved_to: str = "") -> Call[str]:
    lane = context.keys.lane_of(job_id)
    return control.cancel(context.keys, lane, (job_id,), by=by, ttl_ms=TOMBSTONE_MS, moved_to=moved_to)


def _check_it_was_moved(context: FleetContext, job_id: str, by: str | None, moved_to: str) -> Operation[None]:
    """Cancel the new job if somebody else ended the old job at the same moment.

    Raises:
        InvalidJob: The old job has ended otherwise.
    """
    seen = value((yield (inspect.explain(context.keys.lane_of(job_id), job_id),)))
    result = result_of(job_id, seen.found, seen.now, limits=context.limits)
    if result.moved_to != moved_to:
        value((yield (_closing(context, moved_to, by),)))
        raise InvalidJob(REFUSED.format(job_id, result.status))


@verb(
    "move_many", recorded="jobs.move", route="/jobs/move", command="move", result="moved",
    inner=(DRY_RUN,), change=lambda _, values: {"queue": values["to"]}, done=jobs_sentence("Moved"), holes=NO_FORM,
)  # fmt: skip
def move_many(
    context: FleetContext, to: To, *, by: str | None = None, dry_run: bool = False, **filters: Unpack[JobFilters]
) -> Operation[int]:
    """Move the waiting jobs that match all filters to another queue, as new jobs.

    Args:
        to: The new queue.
        dry_run: Only count the jobs.
        filters: Which jobs; see `JobFilters`.

    Returns:
        How many were moved, or would be.

    Raises:
        ConfigError: No filter is given, or the queue to move from does not exist.
        InvalidJob: A filter has a wrong value, or `to` is not a queue name.
    """
    chosen = Selection(**filters)
    check_queue(to)

    def act(ids: list[str]) -> Operation[Acted]:
        count, stay = 0, set()
        for job_id in ids:
            try:
                yield from move(context, job_id, to, by)
                count += 1
            except (DuplicateJob, EncodingError):
                stay.add(job_id)
            except InvalidJob as error:
                if error.field:  # else it was started, or ended, in between
                    stay.add(job_id)
            except JobNotFound:
                continue
        return Acted(count, stay)

    def is_meant(job: JobResult[Any]) -> bool:
        return is_free(job) and chosen.has(job)

    every = [lane for lane in (yield from lanes(context, chosen.queue)) if lane.queue != to]
    name = (yield from smallest(every, chosen.indexes)) if chosen.indexes else ""
    count = 0
    for lane in every:
        if name:
            count += yield from walk_index(context, Stream(lane, name), is_meant, None if dry_run else act)
            continue
        for section in inspect.SECTIONS:
            count += yield from walk_section(lane, section, is_meant, None if dry_run else act)
    return count


# The same job in another queue: one rule for `move`, and for a job that ran out of memory.
#
# Another queue means another id, so it is a new job with new budgets. Its id is derived from the old id, so a
# repeated move makes no second job. The envelope keeps its arguments, its options and the time of its enqueue. The
# job keeps its priority, its group and its unique key. Its expiry stays unless a run of it has started.


class MovingJob(NamedTuple):
    """A job that is to be enqueued in another queue.

    Attributes:
        id: Its id.
        band: Its priority band, 0 to 3.
        when: The due time of the new job, as `Entry.when`; empty for now.
        meta: Its clear record.
        envelope: Its envelope.
        has_started: Whether a run of it has started.
    """

    id: str
    band: int
    when: str
    meta: str
    envelope: bytes
    has_started: bool


def moved_entry(context: FleetContext, job: MovingJob, queue: str) -> Operation[Entry]:
    """Make the entry of the new job; open the queue if it is not known.

    Raises:
        EncodingError: The envelope or the clear record of the job cannot be read.
    """
    if not context.has_queue(queue):
        yield from open_queue(context, queue, holds_jobs=True)
    header = read_header(job.envelope)
    enqueued_at = header.get("enqueued_at") or suffix_time_us(split_id(job.id).suffix) or 0
    # With the time, a later job with the same id gets another new id.
    suffix = derived_suffix(job.id, f"{queue} {enqueued_at}")
    try:
        lines = meta_of(job.meta.encode()).split("\n") if job.meta else []
    except Unreadable as error:
        raise EncodingError(f"{job.id} cannot be moved: {error}.", field="meta") from None
    fields = dict(line.split(" ", 1) for line in lines)
    placement = fields.get("g") or fields.get("u") or suffix
    lane = context.keys.lane(queue, lane_number(placement, context.queues[queue].home))
    # In its new queue it gets a new place, and a life of its own: the old job keeps what was done to it.
    lines = [line for line in lines if not line.startswith(("i ", "n ", "k ", "l "))]
    kept = [line for line in lines if not (job.has_started and line.startswith("x "))]
    indexes = indexes_of(header) + (yield from _index_of_function(context, header))
    meta = marked("\n".join(kept), indexes)
    moved_to = lane.id_prefix + suffix
    changes = {"moved_from": job.id, "enqueued_at": enqueued_at}
    if "moved_from" in header:
        changes["origin"] = header.get("origin", header["moved_from"])
    envelope = amended(job.envelope, changes)
    envelope = yield from carried(context, moved_to, envelope)
    return Entry(moved_to, job.band, job.when, meta, envelope)


def _index_of_function(context: FleetContext, header: Mapping[str, Any]) -> Operation[list[str]]:
    """The name of the index of its function, if that keeps only its last results, and the job is in no flow."""
    name = header.get("function")
    if not isinstance(name, str) or "flow" in header:
        return []
    known = context.registry.get(name)
    if known is not None:
        return [keep_index(name)] if "keep_last" in known.given else []
    record = (yield from published(context)).functions.get(name)
    return [keep_index(name)] if record is not None and keep_last_in(read_function(record)) else []


def enqueue_moved(context: FleetContext, job_id: str, entry: Entry) -> Operation[None]:
    """Enqueue the new job, and check that it exists; close the old job only after this.

    Raises:
        DuplicateJob: Another job of the queue holds the unique key.
    """
    lane = context.keys.lane_of(entry.id)
    answer = value((yield (enqueue(lane, (entry,)),)))[0]
    if answer is not True:
        _, (found,) = value((yield (inspect.status(lane, (entry.id,)),)))
        if isinstance(found, Unknown):
            holder = answer.id if isinstance(answer, Holder) else ""
            raise DuplicateJob(holder, f"{job_id} was not moved: a job of {lane.queue!r} holds its unique key.")


def enqueue_in(context: FleetContext, job: MovingJob, queue: str) -> Operation[str]:
    """Enqueue the same job in another queue; return the id of the new job.

    Raises:
        EncodingError: The envelope of the job cannot be read.
        DuplicateJob: Another job of the queue holds the unique key.
    """
    entry = yield from moved_entry(context, job, queue)
    yield from enqueue_moved(context, job.id, entry)
    return entry.id


LEAST_PER_PAGE = 10
"""What a page of an index counts for at least: it may have many entries of jobs that were removed."""


class Matching(NamedTuple):
    """The jobs that an action would change.

    Attributes:
        number: How many of the jobs that were read.
        read: How many jobs were read.
        is_all: Whether all jobs were read that could match; otherwise there may be more than `number`.
    """

    number: int
    read: int
    is_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An action on many jobs.

    Attributes:
        act: What would be done.
        to: The queue that jobs would move to.
        band: The priority band that jobs would get; None to keep it.
        is_timed: Whether jobs would get another due time.
    """

    act: Literal["cancel", "reschedule", "move"]
    to: str | None = None
    band: int | None = None
    is_timed: bool = False

    def concerns(self, job: JobResult[Any], band: int | None) -> bool:
        """Whether the action would change an open job.

        Args:
            job: The job.
            band: Its priority band; None if it runs.
        """
        if self.act == "cancel":
            return True
        is_free = job.status is not JobStatus.BLOCKED
        if band is None or not (is_free or (self.act == "reschedule" and not self.is_timed)):
            return False
        return job.queue != self.to if self.act == "move" else self.is_timed or band != self.band


def planned(
    act: Literal["cancel", "reschedule", "move"],
    *,
    to: str | None = None,
    at: datetime | None = None,
    delay: Seconds | None = None,
    priority: Priority | PriorityName | None = None,
) -> Planned:
    """Check the values of an action on many jobs.

    Raises:
        InvalidJob: A value is missing or wrong.
    """
    if act == "move":
        check_queue(to or "")
        return Planned(act=act, to=to)
    if act == "cancel":
        return Planned(act=act)
    change = change_of(at, delay, priority)
    return Planned(act=act, band=change.band, is_timed=bool(change.when))


@dataclass(slots=True)
class _Tally:
    """What was counted so far."""

    most: int
    count: int = 0
    read: int = 0
    spent: int = 0

    def add(self, jobs: int, meant: int) -> None:
        """Count a page."""
        self.count += meant
        self.read += jobs
        self.spent += jobs

    @property
    def is_full(self) -> bool:
        """Whether no further page is read."""
        return self.spent >= self.most


def count_matching(context: FleetContext, chosen: Selection, planned: Planned, *, most: int) -> Operation[Matching]:
    """Count the jobs of a selection that an action would change; stop when about `most` jobs were read.

    Raises:
        ConfigError: The queue does not exist.
        InvalidJob: `most` is not a whole number from 1.
    """
    check_number(most, field="most")
    every = yield from lanes(context, chosen.queue)
    tally = _Tally(most)
    if chosen.indexes:
        is_all = yield from _of_index(context, every, chosen, planned, tally)
    else:
        is_all = yield from _of_sections(every, chosen, planned, tally)
    return Matching(tally.count, tally.read, is_all)


def _of_index(
    context: FleetContext, every: Sequence[Lane], chosen: Selection, planned: Planned, tally: _Tally
) -> Operation[bool]:
    """Count in the smallest index; return whether all of it was read."""
    name = yield from smallest(every, chosen.indexes)
    for lane in every:
        stream = Stream(lane, name)
        while not tally.is_full and (rows := (yield from read(context, stream))) is not None:
            meant = [row for row in rows if chosen.has(row.job) and planned.concerns(row.job, _band(row))]
            tally.add(len(rows), len(meant))
            tally.spent += max(0, LEAST_PER_PAGE - len(rows))
        if tally.is_full and (stream.ready or not stream.is_over):
            return False
    return True


def _band(row: Seen) -> int | None:
    return row.found.band if isinstance(row.found, InWait) else None


def _of_sections(every: Sequence[Lane], chosen: Selection, planned: Planned, tally: _Tally) -> Operation[bool]:
    """Count in all sections of the lanes; return whether all of them were read."""
    for lane in every:
        for section in chosen.sections():
            band = None if section == RUNNING else int(section) % BANDS
            skip = 0
            while (page := (yield from page_of(lane, section, skip))).number:
                if tally.is_full:
                    return False
                meant = [job for job in page.jobs if chosen.has(job) and planned.concerns(job, band)]
                tally.add(page.number, len(meant))
                skip += page.number
    return True
