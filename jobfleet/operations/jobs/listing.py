"""List jobs, a page at a time: those that match filters, the newest, those that wait or have ended; dead letters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from jobfleet.clock import from_timedelta, to_us
from jobfleet.codec import header_or_empty, read_fields
from jobfleet.errors import ConfigError, EncodingError, InvalidJob, JobNotFound
from jobfleet.model import JobResult, JobStatus, seconds, split_id, suffix_time_us
from jobfleet.model.fields import LETTER_NAMES
from jobfleet.model.life import events_in, merged
from jobfleet.model.signals import fingerprint_of, normalise
from jobfleet.model.spec import PART_LEAST
from jobfleet.model.status import ShownState, check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.details import call_of
from jobfleet.operations.jobs.matching import Filter, Rows, find
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.payloads import readable
from jobfleet.operations.results import LETTERS, letter_result, result_of, running_result, waiting_result
from jobfleet.operations.verb import Age, QueueName, jobs_sentence, verb
from jobfleet.retry.tries import Tries
from jobfleet.store.calls import ended, inspect
from jobfleet.store.keys import BANDS, WITHHELD_BOUNDS, Lane
from jobfleet.store.records import DeadLetter, has_id


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter with its decoded arguments.

    Attributes:
        job: The job.
        reason: Why it failed: error, crashed, oom, timeout, expired-lease, discarded, unknown-function, unreadable,
            sequence, newer-schema, upcast, invalid-arguments, payload-unavailable, payload-lost.
        history: Its past, oldest first, as in `JobDetails`.
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


@dataclass(frozen=True, slots=True)
class Approvals:
    """The jobs that wait for signals.

    Attributes:
        jobs: The jobs, that which has waited longest first; `JobResult.wait` has the signal.
        is_all: Whether there are no others. If False, there are more than were asked for, or so many jobs that are not
            due that not all were looked at.
    """

    jobs: list[JobResult[Any]]
    is_all: bool


def letter(context: FleetContext, job_id: str) -> Operation[Letter]:
    """Read one dead letter.

    Raises:
        JobNotFound: The job has no dead letter.
    """
    lane = context.keys.lane_of(job_id)
    found = value((yield (inspect.letter(lane, job_id),)))
    if found is None:
        raise JobNotFound(job_id, f"No dead letter {job_id!r}.")
    history = merged(Tries.parse(found.tries).history, events_in(found.meta))
    call = call_of((yield from readable(context, found.envelope)), limits=context.limits)
    job, group = letter_result(found, limits=context.limits), identity_of(found).fingerprint
    return Letter(job, found.reason, history, *call, fingerprint=group)


def jobs(context: FleetContext, chosen: Filter, *, limit: int = 50, cursor: str = "") -> Operation[Page]:
    """List a page of jobs.

    With a filter that has an index, the newest job is first. Otherwise running jobs are first, then waiting jobs by
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


def _sections(status: JobStatus | ShownState | None) -> list[str]:
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
    context: FleetContext, lane: Lane, section: str, status: JobStatus | ShownState | None, limit: int, inner: str
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
        elif status in BY_DUE_TIME:
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
    return Rows([row for row in found if status is None or status in (row.status, row.state)], following)


def _finished(
    context: FleetContext, lane: Lane, status: JobStatus | ShownState | None, limit: int, inner: str
) -> Operation[Rows]:
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


BY_DUE_TIME = (
    JobStatus.SCHEDULED, JobStatus.RETRYING, JobStatus.QUEUED, ShownState.AWAITING, ShownState.SLEEPING,
)  # fmt: skip
"""The states of which jobs are all due now, or all later."""
READ_MOST = 1000
"""Most jobs of each kind (waiting per priority, running, ended) that are read per lane."""
SPARE = 4
"""How many times the wanted number is read: jobs with ids of their own are ordered by their due time at first."""
NAMED = 5
"""How many of several fitting jobs are named."""
_NONE = datetime.fromtimestamp(0, UTC)
_KINDS: Mapping[str, str] = {JobStatus.RUNNING: "r"}


def newest(context: FleetContext, chosen: Filter, *, limit: int = 50) -> Operation[list[JobResult[Any]]]:
    """List the jobs that were enqueued last, newest first, whatever their queue and their state.

    Args:
        context: The context of the fleet.
        chosen: The filter; without those that have an index.
        limit: The most jobs to return.

    Raises:
        ConfigError: The queue does not exist.
        InvalidJob: `limit` is not a whole number from 1.
    """
    check_number(limit)
    every = yield from lanes(context, chosen.queue)
    most = READ_MOST if chosen.is_narrow else min(READ_MOST, SPARE * limit)
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


def beside_parents(jobs: Sequence[JobResult[Any]]) -> list[JobResult[Any]]:
    """Put callbacks that have not run, and undos, behind their job, where that is in the same part of a list."""
    shown = {job.id for job in jobs}
    aside: dict[str, list[JobResult[Any]]] = {}
    for job in jobs:
        if job.is_aside and job.callback_of in shown and job.callback_of != job.id:
            aside.setdefault(job.callback_of, []).append(job)
    moved = {job.id for rows in aside.values() for job in rows}
    return [row for job in jobs if job.id not in moved for row in _with_aside(job, aside)]


def _with_aside(job: JobResult[Any], aside: dict[str, list[JobResult[Any]]]) -> list[JobResult[Any]]:
    """A job, the jobs that stand behind it, and so on; each once, whatever bad bytes say about parents."""
    return [job, *(row for one in aside.pop(job.id, ()) for row in _with_aside(one, aside))]


LOOKED_AT, LOOKED_AT_MOST = 1000, 20_000
"""How many jobs that are not due are looked at per call, and at most per section of a lane."""


def approvals(context: FleetContext, queue: str | None = None, *, limit: int = 100) -> Operation[Approvals]:
    """List the jobs that wait for a signal since a run, that which has waited longest first.

    Per lane and priority, at most 20,000 jobs that are not due are looked at, the latest due first: waits without a
    time-out last for ten years.

    Args:
        context: The context of the fleet.
        queue: The queue; None for all queues.
        limit: The most jobs to return.

    Raises:
        ConfigError: The queue does not exist.
        InvalidJob: `limit` is not a whole number from 1.
    """
    check_number(limit)
    every = yield from lanes(context, queue)
    left = {(lane, section): 0 for lane in every for section in inspect.SECTIONS[: inspect.UNBLOCKED]}
    found: list[JobResult[Any]] = []
    is_all = True
    while left:
        places = list(left)
        answers = yield [inspect.awaiting(lane, section, skip=left[lane, section]) for lane, section in places]
        for place, answer in zip(places, answers, strict=True):
            now, seen, rows = value([answer])
            found += [waiting_result(row, now) for row in rows if has_id(row)]
            left[place] += seen
            is_over = seen < LOOKED_AT and len(rows) < inspect.CHUNK
            is_all = is_all and (is_over or left[place] < LOOKED_AT_MOST)
            if is_over or left[place] >= LOOKED_AT_MOST:
                del left[place]
    found.sort(key=lambda job: (job.wait.since if job.wait else None) or _NONE)
    return Approvals(found[:limit], is_all and len(found) <= limit)


def _last_part(job_id: str) -> str:
    """The part of an id by which the jobs that a process enqueues within a millisecond are in order."""
    return job_id.rpartition(".")[2]


def _kinds(status: JobStatus | ShownState | None) -> str:
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


@verb(
    "queues.clean", method="clean", recorded="jobs.clean", role="admin", target=("queue",), result="deleted",
    titled=lambda values: f"queue={values['queue']}" if values["queue"] else "all queues",
    change=lambda _, values: {"older_than": from_timedelta(values["older_than"])},
    question="Delete all results that are older?", done=jobs_sentence("Results deleted"),
    holes={"page": "results expire by themselves"},
)  # fmt: skip
def clean(context: FleetContext, older_than: Age, queue: QueueName | None = None) -> Operation[int]:
    """Delete the results of jobs that ended longer ago than a time.

    Results expire by themselves after their TTL; this deletes them sooner. The id of a job stays known as long as its
    enqueue may be repeated (the settings dedupe_window and own_id_window). Dead letters stay until they are purged.

    Args:
        older_than: The age of the results: seconds, or a text such as 7d.
        queue: The queue; by default all.

    Returns:
        How many there were.

    Raises:
        ConfigError: There is no such queue.
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


class Identity(NamedTuple):
    """What identifies a dead letter.

    Attributes:
        fingerprint: Its fingerprint, which is also that of the notices about it.
        function: The function.
        error_class: The class of the error, or the reason of the failure.
        error: The error, with placeholders for its variable parts.
        version: The version of the arguments.
        tags: The tags.
        texts: The free texts by which letters are filed, by the names of their fields.
    """

    fingerprint: str
    function: str
    error_class: str
    error: str
    version: str
    tags: tuple[str, ...]
    texts: Mapping[str, str]


def identity_of(letter: DeadLetter) -> Identity:
    """Read what identifies a letter; parts that cannot be read are left out."""
    header, record = header_or_empty(letter.envelope), _fields(read_fields, letter.record)
    known = {**header, **record}
    function, error_class = _text(known, "function"), _text(record, "error_class") or letter.reason
    error = _text(record, "error")
    tags = known.get("tags")
    return Identity(
        fingerprint_of(function, error_class, error),
        function,
        error_class,
        normalise(error),
        str(header.get("schema", 1)),
        tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list | tuple) else (),
        {name: text for name in LETTER_NAMES if (text := _text(known, name))},
    )


def _fields(read: Callable[[bytes], Mapping[str, Any]], data: bytes) -> Mapping[str, Any]:
    try:
        return read(data) if data else {}
    except EncodingError:
        return {}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
