"""Operators' verbs: queues, workers, listings, dead letters, statistics. See `verbs` for the form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from jobfleet.client.report import LETTERS, letter_result, moment, running_result, waiting_result
from jobfleet.client.space import Space
from jobfleet.client.verbs import Verb, batches, cancel_many, poll_many, value
from jobfleet.codec import decode, open_envelope
from jobfleet.errors import ConfigError, EncodingError, JobNotFound
from jobfleet.model import JobResult, JobStatus, Priority, check_queue
from jobfleet.retry import Tries
from jobfleet.store.calls import control, inspect
from jobfleet.store.keys import BANDS, Lane
from jobfleet.store.values import Counts, FleetSeen

LONG_AGO = datetime.fromtimestamp(0, UTC)
TOTALS = ("enqueued", "completed", "failed", "cancelled", "expired", "retried", "lost", "replayed")


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue at one moment.

    Attributes:
        name: Its name.
        lanes: How many lanes it has.
        queued: Jobs due now.
        scheduled: Jobs due later for the first time.
        retrying: Jobs due later again; close to exact while some of them are due already.
        running: Runs.
        dead: Dead letters.
        by_priority: Waiting jobs a priority.
        latency: For how long the longest waiting job has been due.
        paused: Who paused it; None when it is not.
        totals: Counts since the queue's beginning.
        run_time: The time all finished runs took.
    """

    name: str
    lanes: int
    queued: int
    scheduled: int
    retrying: int
    running: int
    dead: int
    by_priority: Mapping[str, int]
    latency: timedelta
    paused: str | None
    totals: Mapping[str, int]
    run_time: timedelta


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker, as it said of itself at its last beat.

    Attributes:
        id: Its id.
        host: The machine.
        pid: Its process.
        queues: What it serves.
        slots: How many jobs it runs at once, all children together.
        running: How many it runs.
        children: How many children it has.
        started: Since when.
        beat: When it was last heard of.
        is_gone: Whether that is too long ago.
        state: ``running``, ``quiet`` or ``stopping``.
        version: Its version of jobfleet.
    """

    id: str
    host: str = ""
    pid: int = 0
    queues: Sequence[str] = ()
    slots: int = 0
    running: int = 0
    children: int = 0
    started: datetime | None = None
    beat: datetime | None = None
    is_gone: bool = False
    state: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, opened.

    Attributes:
        job: What is known of the job.
        reason: Why it failed: error, crashed, timeout, discarded, unknown-function, unreadable.
        history: One line a run: its number, when it ended (µs), what happened; oldest first.
        args: Its arguments; None when they cannot be read.
        kwargs: Likewise.
    """

    job: JobResult[Any]
    reason: str
    history: tuple[str, ...]
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing.

    Attributes:
        jobs: Its rows.
        cursor: Where the next page begins; empty on the last.
    """

    jobs: list[JobResult[Any]] = field(default_factory=list)
    cursor: str = ""


def seen(space: Space) -> Verb[FleetSeen]:
    """Queues, workers and functions."""
    answer: FleetSeen = value((yield (space.looking(),)))
    return answer


def lanes(space: Space, queue: str | None = None) -> Verb[list[Lane]]:
    """All lanes of a queue, or of all queues.

    Raises:
        ConfigError: There is no such queue.
    """
    fleet = yield from seen(space)
    if queue is None:
        return [lane for name, (_, count) in sorted(fleet.queues.items()) for lane in space.lanes_of(name, count)]
    check_queue(queue)
    if queue not in fleet.queues:
        known = ", ".join(sorted(fleet.queues)) or "none yet"
        raise ConfigError(f"No queue {queue!r}; there are: {known}.")
    return space.lanes_of(queue, fleet.queues[queue][1])


def queues(space: Space) -> Verb[list[QueueInfo]]:
    """Every queue at this moment."""
    every = yield from lanes(space)
    if not every:
        return []
    answers: list[Any] = yield [inspect.counts(lane) for lane in every]
    by_queue: dict[str, list[Counts]] = {}
    for lane, answer in zip(every, answers, strict=True):
        by_queue.setdefault(lane.queue, []).append(value([answer]))
    return [_queue_info(name, rows) for name, rows in by_queue.items()]


def _queue_info(name: str, rows: list[Counts]) -> QueueInfo:
    later = sum(sum(row.later) for row in rows)
    retrying = min(later, sum(max(0, row.totals.get("retrying", 0)) for row in rows))
    oldest = max((row.now - row.oldest_due for row in rows if row.oldest_due), default=0)
    waiting = {
        Priority(3 - band).name.lower(): sum(row.due[band] + row.later[band] for row in rows) for band in range(BANDS)
    }
    return QueueInfo(
        name=name,
        lanes=len(rows),
        queued=sum(sum(row.due) for row in rows),
        scheduled=later - retrying,
        retrying=retrying,
        running=sum(row.running for row in rows),
        dead=sum(row.dead for row in rows),
        by_priority=waiting,
        latency=timedelta(microseconds=oldest),
        paused=next((row.paused for row in rows if row.paused is not None), None),
        totals={word: sum(row.totals.get(word, 0) for row in rows) for word in TOTALS},
        run_time=timedelta(microseconds=sum(row.totals.get("run_us", 0) for row in rows)),
    )


def workers(space: Space) -> Verb[list[WorkerInfo]]:
    """The workers that were heard of lately."""
    fleet = yield from seen(space)
    gone_us = round(space.config.gone_after * 1_000_000)
    return [_worker_info(row.id, row.beat, row.account, fleet.now, gone_us) for row in fleet.workers]


def _worker_info(worker: str, beat: int, account: bytes, now: int, gone_us: int) -> WorkerInfo:
    try:
        said = decode(account) if account else {}
    except EncodingError:
        said = {}
    fields = said if isinstance(said, dict) else {}
    return WorkerInfo(
        id=worker,
        host=str(fields.get("host", "")),
        pid=int(fields.get("pid", 0)),
        queues=tuple(fields.get("queues", ())),
        slots=int(fields.get("slots", 0)),
        running=int(fields.get("running", 0)),
        children=int(fields.get("children", 0)),
        started=moment(fields.get("started", 0)),
        beat=moment(beat),
        is_gone=now - beat > gone_us,
        state=str(fields.get("state", "")),
        version=str(fields.get("version", "")),
    )


def pause(space: Space, queue: str, by: str | None) -> Verb[bool]:
    """Let no job of a queue be claimed; False when it was paused already."""
    every = yield from lanes(space, queue)
    answers = yield [control.pause(lane, by=by) for lane in every]
    changed = [value([answer]) for answer in answers]  # each is looked at, so that no error is passed over
    return any(changed)


def resume(space: Space, queue: str) -> Verb[bool]:
    """Let a paused queue be claimed again; False when it was not paused."""
    every = yield from lanes(space, queue)
    answers = yield [control.resume(lane) for lane in every]
    changed = [value([answer]) for answer in answers]  # each is looked at, so that no error is passed over
    return any(changed)


def purge_queue(space: Space, queue: str, by: str | None) -> Verb[int]:
    """Cancel every waiting job of a queue, in bounded batches; how many there were."""
    every = yield from lanes(space, queue)
    count = 0
    for lane in every:
        for band in range(BANDS):
            while True:
                _, rows = value((yield (inspect.waiting(lane, band),)))
                if not rows:
                    break
                count += yield from cancel_many(space, [row.id for row in rows], by)
    return count


def dead(space: Space, queue: str | None = None, *, limit: int = 50) -> Verb[list[JobResult[Any]]]:
    """The newest dead letters of a queue, or of all."""
    every = yield from lanes(space, queue)
    found: list[JobResult[Any]] = []
    for lane in every:
        before, left = "+", limit
        while left > 0:
            size = min(left, inspect.CHUNK)
            letters = value((yield (inspect.dead(lane, before=before, limit=size),)))
            found.extend(letter_result(letter, limits=space.limits) for letter in letters)
            if len(letters) < size:
                break
            before, left = f"({letters[-1].entry}", left - size
    found.sort(key=lambda row: row.completed_at or LONG_AGO, reverse=True)
    return found[:limit]


def letter(space: Space, job_id: str) -> Verb[Letter]:
    """One dead letter, opened.

    Raises:
        JobNotFound: There is none of that job.
    """
    lane = space.keys.lane_of(job_id)
    found = value((yield (inspect.letter(lane, job_id),)))
    if found is None:
        raise JobNotFound(job_id, f"No dead letter {job_id!r}.")
    try:
        opened = open_envelope(found.envelope, limits=space.limits)
        args, kwargs = tuple(opened.args), opened.kwargs
    except EncodingError:
        args, kwargs = None, None
    history = Tries.parse(found.tries).history
    return Letter(letter_result(found, limits=space.limits), found.reason, history, args, kwargs)


def jobs(
    space: Space, *, status: JobStatus | None = None, queue: str | None = None, limit: int = 50, cursor: str = ""
) -> Verb[Page]:
    """A page of jobs: running ones, then waiting ones by urgency, then finished ones, newest first.

    Args:
        space: The client's context.
        status: Only such.
        queue: Only of this queue.
        limit: Rows at most.
        cursor: `Page.cursor` of the page before.
    """
    every = yield from lanes(space, queue)
    sections = [(lane, section) for section in _sections(status) for lane in every]
    first, inner = _place(cursor, sections)
    rows: list[JobResult[Any]] = []
    for number in range(first, len(sections)):
        lane, section = sections[number]
        while len(rows) < limit:
            found, inner = yield from _section(
                space, lane, section, status, min(limit - len(rows), inspect.CHUNK), inner
            )
            rows.extend(found)
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
    match = re.fullmatch(r"(\d{1,6})~(\d{1,12}|\(\d{1,20}-\d{1,20}|)", cursor)
    number = int(match[1]) if match else len(sections)
    if (
        match is None
        or number >= len(sections)
        or (match[2].startswith("(") != (sections[number][1] == "finished") and match[2])
    ):
        raise ConfigError(f"cursor is {cursor!r}; give the one that the page before answered.")
    return number, match[2]


def _sections(status: JobStatus | None) -> list[str]:
    waiting = [f"waiting{band}" for band in range(BANDS)]
    if status is None:
        return ["running", *waiting, "finished"]
    if status is JobStatus.RUNNING:
        return ["running"]
    return waiting if status.is_waiting else ["finished"]


def _section(
    space: Space, lane: Lane, section: str, status: JobStatus | None, limit: int, inner: str
) -> Verb[tuple[list[JobResult[Any]], str]]:
    """Some rows of one place, and where to go on; empty when it is through."""
    if section == "finished":
        return (yield from _finished(space, lane, status, limit, inner))
    skip = int(inner or 0)
    if section == "running":
        now, rows = value((yield (inspect.running(lane, skip=skip, limit=limit),)))
        found = [running_result(row, now) for row in rows]
    else:
        start = stop = ""
        if status in (JobStatus.SCHEDULED, JobStatus.RETRYING, JobStatus.QUEUED):
            counted = value((yield (inspect.counts(lane),)))
            start = f"({counted.now}" if status is not JobStatus.QUEUED else ""
            stop = str(counted.now) if status is JobStatus.QUEUED else ""
        call = inspect.waiting(
            lane, int(section[-1]), start=start or "-inf", stop=stop or "+inf", skip=skip, limit=limit
        )
        now, rows = value((yield (call,)))
        found = [waiting_result(row, now) for row in rows]
    following = str(skip + len(rows)) if len(rows) == limit else ""
    return [row for row in found if status is None or row.status is status], following


def _finished(
    space: Space, lane: Lane, status: JobStatus | None, limit: int, inner: str
) -> Verb[tuple[list[JobResult[Any]], str]]:
    """Finished jobs; a batch is never cut, so a page may be a batch longer than asked for."""
    wanted: list[str] = []
    before = inner or "+"
    while len(wanted) < limit:
        rows = value((yield (inspect.finished(lane, before=before, limit=10),)))
        if not rows:
            before = ""
            break
        wanted += [lane.id_prefix + row.suffix for row in rows if status is None or LETTERS.get(row.outcome) is status]
        before = f"({rows[-1].entry}"
    found: list[JobResult[Any]] = []
    for part in batches(dict.fromkeys(wanted), inspect.CHUNK):
        answers = yield from poll_many(space, part)
        found += [row for row in answers if row is not None and row.status.is_final]
    return found, before


def statistics(space: Space) -> Verb[dict[str, Any]]:
    """Counts of the whole fleet, as the user's document asks for them."""
    every = yield from queues(space)
    alive = [worker for worker in (yield from workers(space)) if not worker.is_gone]
    total = {word: sum(row.totals[word] for row in every) for word in TOTALS}
    finished = total["completed"] + total["failed"]
    spent = sum((row.run_time for row in every), timedelta()).total_seconds()
    return {
        "total": total["enqueued"],
        "blocked": 0,
        "scheduled": sum(row.scheduled for row in every),
        "queued": sum(row.queued for row in every),
        "running": sum(row.running for row in every),
        "retrying": sum(row.retrying for row in every),
        "completed": total["completed"],
        "failed": total["failed"],
        "cancelled": total["cancelled"],
        "expired": total["expired"],
        "queue_size": sum(row.queued + row.scheduled + row.retrying for row in every),
        "by_priority": {
            priority.name.lower(): sum(row.by_priority[priority.name.lower()] for row in every) for priority in Priority
        },
        "dead_letters": sum(row.dead for row in every),
        "workers": len(alive),
        "average_duration": spent / finished if finished else 0.0,
        "success_rate": total["completed"] / finished if finished else 0.0,
    }
