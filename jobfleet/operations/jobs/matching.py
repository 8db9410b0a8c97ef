"""Find jobs by filters, through an index if there is one, and act on all that match, in bounded batches."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Unpack

from jobfleet.errors import ConfigError, InvalidJob, JobNotFound
from jobfleet.model import JobResult, JobStatus, split_id
from jobfleet.model.fields import FILTER_NAMES, FilterTexts
from jobfleet.model.status import ShownState, check_moment, check_text, read_state
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.cancel import cancel_ids
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import result_of, running_result, waiting_result
from jobfleet.operations.verb import Name, Past, QueueName, Status, Tags, jobs_sentence, verb
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.enqueue import CHUNK, Mark, indexed, names
from jobfleet.store.calls.inspect import status
from jobfleet.store.keys import TOMBSTONE_MS, Lane
from jobfleet.store.records import Found, InWait, Unknown, has_id


class Rows(NamedTuple):
    """A part of a listing.

    Attributes:
        jobs: The jobs.
        cursor: Where the next part begins; empty for the last part.
    """

    jobs: list[JobResult[Any]]
    cursor: str


class JobFilters(FilterTexts, total=False):
    """The filters of jobs on each surface; a filter that is not given matches every job.

    The free texts of a job are filters, too; see `FilterTexts`. In Python, one tag may be a plain string, and a time
    without a zone is in this machine's local zone.

    Attributes:
        queue: Only jobs of this queue.
        function: Only jobs of this function.
        name: Only jobs with this name, the label for people.
        tags: Only jobs with this tag; of several, with all these tags.
        texts: Only jobs of this {}.
        status: Only jobs with this status, or in this state: parked, awaiting (a signal) or sleeping.
        group: Only jobs of this group.
        since: Only jobs enqueued at this time or later: '24h' ago, or 2026-11-25T08:00+01:00.
        until: Only jobs enqueued before this time.
    """

    queue: QueueName | None
    function: Name | None
    name: Name | None
    tags: Tags
    status: Status | None
    group: Name | None
    since: Past | None
    until: Past | None


class Filter:
    """A filter of jobs, made of `JobFilters`.

    Attributes:
        tags: The job has all of these tags; a single text is one tag.
        queue: The queue.
        function: The name of the function on the wire.
        name: The label of the job.
        texts: The given free texts, by the names of their fields.
        status: The status.
        group: The group.
        since: The job was enqueued at this time or later.
        until: The job was enqueued before this time.

    Raises:
        InvalidJob: A field has a wrong value; `field` names it.
    """

    def __init__(self, **given: Unpack[JobFilters]) -> None:
        for name in given:
            if name not in JobFilters.__annotations__:
                raise TypeError(f"There is no filter {name!r}; use {', '.join(JobFilters.__annotations__)}.")
        tags = given.get("tags", ())
        self.tags: Sequence[str] = (tags,) if isinstance(tags, str) else tags
        self.queue: str | None = given.get("queue")
        self.function: str | None = given.get("function")
        self.name: str | None = given.get("name")
        self.texts: dict[str, str] = texts_in(given, FILTER_NAMES)
        status = given.get("status")
        self.status: JobStatus | ShownState | None = None if status is None else read_state(status)
        self.group: str | None = given.get("group")
        self.since: datetime | None = _moment(given, "since")
        self.until: datetime | None = _moment(given, "until")
        if not isinstance(self.tags, Sequence):
            raise InvalidJob(f"tags is {self.tags!r:.100}; give a list of texts.", field="tags")
        for tag in self.tags:
            check_text(tag, field="tags")
        texts_in(given, ("function", "name", "group"))

    @property
    def indexes(self) -> list[str]:
        """The names of the indexes; each of them contains every job that matches."""
        return names({"tags": self.tags, **self.texts})

    @property
    def is_narrow(self) -> bool:
        """Whether it has a filter without an index, besides the queue."""
        return any((self.function, self.name, self.status, self.group, self.since, self.until))

    def fits(self, job: JobResult[Any]) -> bool:
        """Whether a job of the filtered queue matches."""
        return (
            set(self.tags) <= set(job.tags)
            and self.function in (None, job.function)
            and self.name in (None, job.name)
            and all(getattr(job, name) == text for name, text in self.texts.items())
            and self.status in (None, job.status, job.state)
            and self.group in (None, job.group)
            and self._is_in_time(job.enqueued_at)
        )

    def _is_in_time(self, enqueued_at: datetime | None) -> bool:
        """Whether a job of this time matches; one whose time is not known matches only without times."""
        if self.since is None and self.until is None:
            return True
        if enqueued_at is None:
            return False
        return (self.since is None or self.since <= enqueued_at) and (self.until is None or enqueued_at < self.until)


def texts_in(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """The texts among some filters that are given.

    Raises:
        InvalidJob: One is not a text; `field` names it.
    """
    texts = {name: given[name] for name in names if given.get(name) is not None}
    for name, text in texts.items():
        check_text(text, field=name)
    return texts


def _moment(given: JobFilters, name: Literal["since", "until"]) -> datetime | None:
    moment = given.get(name)
    if moment is None:
        return None
    check_moment(moment, field=name)
    return moment.astimezone(UTC)


@dataclass(slots=True)
class Stream:
    """A reader of the index of one lane, from the newest job to the oldest.

    Attributes:
        lane: The lane.
        name: The name of the index.
        below: The last entry that was read; None before the first read.
        ready: Entries that were read and are not used yet.
        is_over: Whether the whole index was read.
        skip: How many entries of the time of `below` the next read skips.
    """

    lane: Lane
    name: str
    below: Mark | None = None
    ready: deque[Mark] = field(default_factory=deque)
    is_over: bool = False
    skip: int = 0

    @property
    def call(self) -> Call[tuple[int, list[Mark]]]:
        """The call that reads the next entries."""
        return indexed(self.lane, self.name, upto=None if self.below is None else self.below.at, skip=self.skip)

    @property
    def is_dry(self) -> bool:
        """Whether the next entry is not known without a further read."""
        return not self.ready and not self.is_over

    def take(self, marks: list[Mark]) -> None:
        """Record a read. A read repeats the entries that have the time of the last known entry; these are skipped."""
        fresh = [mark for mark in marks if self.below is None or mark < self.below]
        self.ready.extend(fresh)
        self.is_over = len(marks) < CHUNK
        self.skip = 0 if fresh else self.skip + len(marks)
        if fresh:
            self.below = fresh[-1]


def smallest(lanes: Sequence[Lane], indexes: Sequence[str]) -> Operation[str]:
    """Choose the index with the fewest jobs."""
    if len(indexes) == 1 or not lanes:
        return indexes[0]
    answers = yield [indexed(lane, name, limit=0) for name in indexes for lane in lanes]
    counts = [value([answer])[0] for answer in answers]
    sizes = {name: sum(counts[at * len(lanes) : (at + 1) * len(lanes)]) for at, name in enumerate(indexes)}
    return min(indexes, key=lambda name: sizes[name])


def find(context: FleetContext, lanes: Sequence[Lane], chosen: Filter, *, limit: int, cursor: str) -> Operation[Rows]:
    """Find a page of the matching jobs in all lanes, newest first.

    Raises:
        ConfigError: The cursor is not one of an earlier page.
    """
    below = _mark(cursor)
    name = yield from smallest(lanes, chosen.indexes)
    streams = [Stream(lane, name, below) for lane in lanes]
    rows: list[JobResult[Any]] = []
    while len(rows) < limit:
        yield from _fill(streams)
        marks = _merged(streams, limit - len(rows))
        if not marks:
            return Rows(rows, "")
        below = marks[-1]
        found = yield from poll_many(context, [mark.id for mark in marks])
        rows += [row for row in found if row is not None and chosen.fits(row)]
    yield from _fill(streams)
    is_more = below is not None and any(stream.ready for stream in streams)
    return Rows(rows, f"{below.at}~{below.id}" if below is not None and is_more else "")


def _mark(cursor: str) -> Mark | None:
    if not cursor:
        return None
    match = re.fullmatch(r"(\d{1,16})~(\S+)", str(cursor))
    try:
        if match is not None and split_id(match[2]):
            return Mark(int(match[1]), match[2])
    except JobNotFound:
        pass
    raise ConfigError(f"cursor is {cursor!r}; give the cursor of the previous page.")


def _fill(streams: Iterable[Stream]) -> Operation[None]:
    """Read every stream whose next entry is not known."""
    while dry := [stream for stream in streams if stream.is_dry]:
        answers = yield [stream.call for stream in dry]
        for stream, answer in zip(dry, answers, strict=True):
            stream.take(value([answer])[1])


def _merged(streams: Sequence[Stream], most: int) -> list[Mark]:
    """Take the next entries of all streams in order, as far as they are known."""
    taken: list[Mark] = []
    while len(taken) < most and not any(stream.is_dry for stream in streams):
        full = [stream for stream in streams if stream.ready]
        if not full:
            break
        taken.append(max(full, key=lambda stream: stream.ready[0]).ready.popleft())
    return taken


class Seen(NamedTuple):
    """A job of an index.

    Attributes:
        job: The job.
        found: The stored form of the job.
    """

    job: JobResult[Any]
    found: Found


def read(context: FleetContext, stream: Stream) -> Operation[list[Seen] | None]:
    """Read the next jobs of the index of one lane, without removed jobs; None at the end."""
    yield from _fill((stream,))
    if not stream.ready:
        return None
    ids = [mark.id for mark in stream.ready]
    stream.ready.clear()
    now, found = value((yield (status(stream.lane, ids),)))
    return [
        Seen(result_of(job_id, one, now, limits=context.limits), one)
        for job_id, one in zip(ids, found, strict=True)
        if not isinstance(one, Unknown)
    ]


def go_through(
    context: FleetContext, stream: Stream, is_meant: Callable[[Seen], bool], act: Callable[[list[str]], Operation[int]]
) -> Operation[int]:
    """Run `act` on the matching jobs of the index of one lane, at most 50 per call; return the sum of its counts.

    The order of an index does not change when its jobs change, so each job is met once.
    """
    count = 0
    while (rows := (yield from read(context, stream))) is not None:
        meant = [row.job.id for row in rows if is_meant(row)]
        if meant:
            count += yield from act(meant)
    return count


# Count or cancel a selection of open jobs, a page at a time.
#
# With a filter that has an index, only the jobs of that index are read. Otherwise every open job of the lanes is
# read by its header. Memory is bounded by one page.


PASSES = 5
"""The most passes over the lanes. Jobs move during a pass, and a further pass finds the jobs that it missed."""
RUNNING = "running"
Act = Callable[[list[str]], Operation[int]]


class Selection(Filter):
    """A filter of open jobs; a field that is not given matches every job.

    Raises:
        ConfigError: No field is given, or the status is one of ended jobs.
        InvalidJob: A field has a wrong value; `field` names it.
    """

    def __init__(self, **given: Unpack[JobFilters]) -> None:
        super().__init__(**given)
        if not (self.indexes or self.queue or self.is_narrow):
            raise ConfigError(
                f"Nothing says which jobs are meant; give tags, queue, function, name, {', '.join(FILTER_NAMES)}, "
                "status, group, since or until."
            )
        if self.status is not None and self.status.is_final:
            raise ConfigError(f"status is {self.status.value!r}; such jobs have ended: give one of open jobs.")

    def has(self, job: JobResult[Any]) -> bool:
        """Whether a job matches; a job that was asked to stop before does not."""
        return job.cancel_requested_by is None and not job.status.is_final and self.fits(job)

    def sections(self) -> list[str]:
        """The sections of a lane that may hold such jobs."""
        return self.sections_of(self.status)

    @staticmethod
    def sections_of(status: JobStatus | ShownState | None) -> list[str]:
        """The sections of a lane that may hold open jobs with a status."""
        waiting = [str(section) for section in inspect.SECTIONS]
        if status is None:
            return [RUNNING, *waiting]
        return [RUNNING] if status is JobStatus.RUNNING else waiting


def count_open(context: FleetContext, selection: Selection) -> Operation[int]:
    """Count the open jobs of a selection.

    Raises:
        ConfigError: The queue does not exist.
    """
    total = 0
    every = yield from lanes(context, selection.queue)
    if selection.indexes:
        return (yield from _indexed(context, every, selection, _counted))
    for lane in every:
        for section in selection.sections():
            skip = 0
            while (page := (yield from page_of(lane, section, skip))).number:
                total += sum(selection.has(row) for row in page.jobs)
                skip += page.number
    return total


NO_FORM = {"page": "the form of `/jobs/bulk/preview` shows their number, and asks"}


@verb(
    "cancel_many", recorded="jobs.cancel", route="/jobs/cancel", command="cancel", result="cancelled",
    done=jobs_sentence("Cancelled, or asked to stop"), holes=NO_FORM,
)  # fmt: skip
def cancel_many(context: FleetContext, *, by: str | None = None, **filters: Unpack[JobFilters]) -> Operation[int]:
    """Cancel the open jobs that match all filters: waiting jobs end, and running ones are asked to stop.

    With tags or a free text, such as `user`, only their index is read; otherwise every open job is, in bounded batches.

    Args:
        filters: Which jobs; see `JobFilters`.

    Returns:
        How many were cancelled or asked to stop.

    Raises:
        ConfigError: No filter is given, or the queue does not exist.
        InvalidJob: A filter has a wrong value.
    """
    selection, total = Selection(**filters), 0
    every = yield from lanes(context, selection.queue)
    if selection.indexes:

        def act(ids: list[str]) -> Operation[int]:
            return cancel_ids(context, ids, by)

        return (yield from _indexed(context, every, selection, act))
    for _ in range(PASSES):
        found = 0
        for lane in every:
            for section in selection.sections():
                found += yield from _cancel(context, lane, section, selection, by)
        total += found
        if not found:
            break
    return total


def _indexed(context: FleetContext, every: Sequence[Lane], selection: Selection, act: Act) -> Operation[int]:
    """Act on the matching jobs of the smallest index; return the sum of the counts."""
    name = yield from smallest(every, selection.indexes)
    total = 0
    for lane in every:
        total += yield from go_through(context, Stream(lane, name), lambda seen: selection.has(seen.job), act)
    return total


def _counted(ids: list[str]) -> Operation[int]:
    yield from ()
    return len(ids)


def _cancel(context: FleetContext, lane: Lane, section: str, selection: Selection, by: str | None) -> Operation[int]:
    total = skip = 0
    while (page := (yield from page_of(lane, section, skip))).number:
        skip += page.number
        meant = [row.id for row in page.jobs if selection.has(row)]
        if meant:
            letters = value((yield (control.cancel(context.keys, lane, meant, by=by, ttl_ms=TOMBSTONE_MS),)))
            skip -= letters.count("c")  # these are not in this section any more
            total += sum(letter in "cr" for letter in letters)
    return total


class SectionPage(NamedTuple):
    """The number of rows of a page, and the jobs among them."""

    number: int
    jobs: list[JobResult[Any]]


def page_of(lane: Lane, section: str, skip: int) -> Operation[SectionPage]:
    """Read a page of a section of a lane, or of its running jobs."""
    if section == RUNNING:
        now, running = value((yield (inspect.running(lane, skip=skip),)))
        return SectionPage(len(running), [running_result(row, now) for row in running if has_id(row)])
    now, waiting = value((yield (inspect.waiting(lane, int(section), skip=skip),)))
    return SectionPage(len(waiting), [waiting_result(row, now) for row in waiting if has_id(row)])


class Acted(NamedTuple):
    """The result of an act on some jobs.

    Attributes:
        changed: How many jobs were changed.
        stayed: The ids of the jobs that still are in the range that is searched.
    """

    changed: int
    stayed: set[str]


ActOnBatch = Callable[[list[str]], Operation[Acted]]
Meant = Callable[[JobResult[Any]], bool]


def is_free(job: JobResult[Any]) -> bool:
    """Whether a job does not wait for other jobs."""
    return job.status is not JobStatus.BLOCKED


def walk_index(
    context: FleetContext,
    stream: Stream,
    is_meant: Meant,
    act: ActOnBatch | None,
    is_there: Callable[[InWait], bool] = lambda _: False,
) -> Operation[int]:
    """Act on the matching jobs of an index, at most 50 per call; return how many were changed.

    Args:
        context: The context of the fleet.
        stream: The reader of the index.
        is_meant: Whether to act on a job.
        act: The act on the jobs of a page; None to count the jobs only.
        is_there: Whether a job is at its new place already, so that nothing is to be done.
    """

    def meant(seen: Seen) -> bool:
        return isinstance(seen.found, InWait) and is_meant(seen.job) and not is_there(seen.found)

    def acted(ids: list[str]) -> Operation[int]:
        return len(ids) if act is None else (yield from act(ids)).changed

    return (yield from go_through(context, stream, meant, acted))


def walk_section(
    lane: Lane, section: int, is_meant: Meant, act: ActOnBatch | None, start: str = "-inf", stop: str = "+inf"
) -> Operation[int]:
    """Act on the matching waiting jobs of a section by due time, at most 50 per call; return how many were changed.

    An act moves jobs out of the range, or names the jobs that stayed in it. Without an act, the jobs are counted. A row
    without a job cannot be moved: it is passed over when the next page shows it again.
    """
    count = skip = 0
    gone: set[str] = set()
    while True:
        call = inspect.waiting(lane, section, start=start, stop=stop, skip=skip)
        now, rows = value((yield (call,)))
        fresh = [row for row in rows if row.id not in gone]  # the others were acted on in vain
        meant = [row.id for row in fresh if has_id(row) and is_meant(waiting_result(row, now))]
        acted = Acted(len(meant), set(meant)) if act is None or not meant else (yield from act(meant))
        count += acted.changed
        if len(rows) < inspect.CHUNK:
            return count
        last = rows[-1].due
        gone = set(meant) - acted.stayed
        left = sum(row.due == last and row.id not in gone for row in rows)
        start, skip = str(last), left + (skip if start == str(last) else 0)
