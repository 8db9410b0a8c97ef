"""Find jobs by tag, user or session through their index, so that no other job is read."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypedDict

from jobfleet.errors import ConfigError, InvalidJob, JobNotFound
from jobfleet.model import JobResult, JobStatus, split_id
from jobfleet.model.status import check_moment, check_text, read_status
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import result_of
from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import CHUNK, Mark, indexed, names
from jobfleet.store.calls.inspect import status
from jobfleet.store.keys import Lane
from jobfleet.store.records import Found, Unknown


class Rows(NamedTuple):
    """A part of a listing.

    Attributes:
        jobs: The jobs.
        cursor: Where the next part begins; empty for the last part.
    """

    jobs: list[JobResult[Any]]
    cursor: str


class JobFilters(TypedDict, total=False):
    """The filters that a client's methods take as named arguments; a filter that is not given matches every job.

    Attributes:
        tags: The jobs have all of these tags; one tag may be a plain string.
        queue: Their queue.
        function: The registered name of their function.
        user: Their user.
        session: Their session.
        status: Their status.
        group: Their group.
        since: They were enqueued at this time or later; a naive time is in this machine's local zone.
        until: They were enqueued before this time.
    """

    tags: Sequence[str]
    queue: str | None
    function: str | None
    user: str | None
    session: str | None
    status: JobStatus | None
    group: str | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A filter of jobs, made of `JobFilters`.

    Attributes:
        tags: The job has all of these tags; a single text is one tag.
        queue: The queue.
        function: The name of the function on the wire.
        user: The user that the job is attributed to.
        session: The session that the job belongs to.
        status: The status.
        group: The group.
        since: The job was enqueued at this time or later.
        until: The job was enqueued before this time.

    Raises:
        InvalidJob: A field has a wrong value; `field` names it.
    """

    tags: Sequence[str] = ()
    queue: str | None = None
    function: str | None = None
    user: str | None = None
    session: str | None = None
    status: JobStatus | None = None
    group: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tags, str):
            object.__setattr__(self, "tags", (self.tags,))
        if not isinstance(self.tags, Sequence):
            raise InvalidJob(f"tags is {self.tags!r:.100}; give a list of texts.", field="tags")
        for tag in self.tags:
            check_text(tag, field="tags")
        for name in ("function", "user", "session", "group"):
            if getattr(self, name) is not None:
                check_text(getattr(self, name), field=name)
        for name in ("since", "until"):
            if (given := getattr(self, name)) is not None:
                check_moment(given, field=name)
                object.__setattr__(self, name, given.astimezone(UTC))
        if self.status is not None:
            object.__setattr__(self, "status", read_status(self.status))

    @property
    def indexes(self) -> list[str]:
        """The names of the indexes; each of them contains every job that matches."""
        return names(self.tags, self.user, self.session)

    def fits(self, job: JobResult[Any]) -> bool:
        """Whether a job of the filtered queue matches."""
        return (
            set(self.tags) <= set(job.tags)
            and self.function in (None, job.function)
            and self.user in (None, job.user)
            and self.session in (None, job.session)
            and self.status in (None, job.status)
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
