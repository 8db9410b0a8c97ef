"""Operators' verbs: queues, workers, listings, dead letters, statistics. See `verbs` for the form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobfleet.client.report import has_id, moment
from jobfleet.client.space import Space
from jobfleet.client.verbs import Verb, cancel_many, value
from jobfleet.codec import decode
from jobfleet.errors import ConfigError, EncodingError
from jobfleet.model import Priority, check_queue
from jobfleet.store.calls import inspect
from jobfleet.store.calls.paused import read_functions
from jobfleet.store.fleet import whole
from jobfleet.store.keys import BANDS, Lane
from jobfleet.store.rows import number_of
from jobfleet.store.values import Counts, FleetSeen

ENDINGS = ("completed", "failed", "cancelled", "expired")
TOTALS = ("enqueued", "completed", "failed", "cancelled", "expired", "retried", "lost", "replayed")


@dataclass(frozen=True, slots=True)
class FunctionPause:
    """A function that is paused in a queue.

    Attributes:
        function: Its name.
        by: Who paused it; None for nobody in particular.
        since: When.
        reason: Why; may be empty.
    """

    function: str
    by: str | None
    since: datetime | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue at one moment.

    Attributes:
        name: Its name.
        lanes: How many lanes it has.
        queued: Jobs due now.
        scheduled: Jobs due later for the first time.
        blocked: Jobs that wait for others.
        retrying: Jobs due later again; close to exact while some of them are due already.
        running: Runs.
        dead: Dead letters.
        by_priority: Waiting jobs a priority.
        latency: For how long the longest waiting job has been due.
        paused: Who paused it; None when it is not.
        totals: Counts since the queue's beginning.
        run_time: The time all finished runs took.
        paused_reason: Why it is paused; may be empty.
        paused_functions: The functions that are paused in it.
        unread: Events that its journal keeps since a consumer has not acknowledged them.
        dropped: Events that it has let go although one had not: they exceeded its bound.
    """

    name: str
    lanes: int
    queued: int
    scheduled: int
    blocked: int
    retrying: int
    running: int
    dead: int
    by_priority: Mapping[str, int]
    latency: timedelta
    paused: str | None
    totals: Mapping[str, int]
    run_time: timedelta
    paused_reason: str = ""
    paused_functions: Sequence[FunctionPause] = ()
    unread: int = 0
    dropped: int = 0


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
        children: How many children claim, or would if it was not quiet.
        leaving: How many only finish what they run, their successors being there.
        hung: How many hang: their event loop does not turn.
        started: Since when.
        beat: When it was last heard of.
        is_gone: Whether that is too long ago.
        state: ``running``, ``quiet`` or ``stopping``.
        state_by: Who asked for that state from afar; empty when nobody did.
        obeyed: The nonce of the last command it has obeyed.
        version: Its version of jobfleet.
        scale_max: Most processes that it takes when it is scaled from afar; 0 where it does not say.
        undecorated: The modules whose public functions it runs without their being registered.
        cpus: How many processors it may use, by affinity and cgroup; 0 where a worker of an older version does not say.
        kinds: The kinds of its children, by what they know and serve; none of a worker of an earlier version.
    """

    id: str
    host: str = ""
    pid: int = 0
    queues: Sequence[str] = ()
    slots: int = 0
    running: int = 0
    children: int = 0
    leaving: int = 0
    hung: int = 0
    started: datetime | None = None
    beat: datetime | None = None
    is_gone: bool = False
    state: str = ""
    state_by: str = ""
    obeyed: str = ""
    version: str = ""
    scale_max: int = 0
    undecorated: Sequence[str] = ()
    cpus: int = 0
    kinds: Sequence[str] = ()


def seen(space: Space) -> Verb[FleetSeen]:
    """Queues, workers and functions."""
    return (yield from whole(space.keys))


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
    return [queue_info(name, rows) for name, rows in by_queue.items()]


def queue_info(name: str, rows: Sequence[Counts]) -> QueueInfo:
    """A queue, from what its lanes counted."""
    later = sum(sum(row.later) for row in rows)
    retrying = min(later, sum(max(0, row.totals.get("retrying", 0)) for row in rows))
    oldest = max((row.now - row.oldest_due for row in rows if row.oldest_due), default=0)
    waiting = {
        Priority(3 - band).name.lower(): sum(row.due[band] + row.later[band] + row.blocked[band] for row in rows)
        for band in range(BANDS)
    }
    return QueueInfo(
        name=name,
        lanes=len(rows),
        queued=sum(sum(row.due) for row in rows),
        scheduled=later - retrying,
        blocked=sum(sum(row.blocked) for row in rows),
        retrying=retrying,
        running=sum(row.running for row in rows),
        dead=sum(row.dead for row in rows),
        by_priority=waiting,
        latency=timedelta(microseconds=oldest),
        paused=next((row.paused for row in rows if row.paused is not None), None),
        totals={word: sum(row.totals.get(word, 0) for row in rows) for word in TOTALS},
        run_time=timedelta(microseconds=sum(row.totals.get("run_us", 0) for row in rows)),
        paused_reason=next((row.reason for row in rows if row.paused is not None), ""),
        paused_functions=tuple(_paused_functions(rows)),
        unread=sum(row.totals.get("journal", 0) - row.totals.get("journal_low", 0) for row in rows),
        dropped=sum(row.totals.get("journal_dropped", 0) for row in rows),
    )


def _paused_functions(rows: Sequence[Counts]) -> Iterator[FunctionPause]:
    paused = {name: pause for row in reversed(rows) for name, pause in read_functions(row.functions).items()}
    for name, pause in sorted(paused.items()):
        yield FunctionPause(name, pause.by, moment(pause.at), pause.reason)


def workers(space: Space) -> Verb[list[WorkerInfo]]:
    """The workers that were heard of lately."""
    return workers_of(space, value((yield (space.looking(),))))


def workers_of(space: Space, fleet: FleetSeen) -> list[WorkerInfo]:
    """The workers among what was read of the fleet."""
    gone_us = round(space.config.gone_after * 1_000_000)
    return [_worker_info(row.id, row.beat, row.account, fleet.now, gone_us) for row in fleet.workers]


def _worker_info(worker: str, beat: int, account: bytes, now: int, gone_us: int) -> WorkerInfo:
    try:
        said = decode(account) if account else {}
    except EncodingError:
        said = {}
    fields = said if isinstance(said, dict) else {}
    queues = fields.get("queues", ())
    return WorkerInfo(
        id=worker,
        host=str(fields.get("host", "")),
        pid=number_of(fields.get("pid", 0)),
        queues=tuple(str(name) for name in queues) if isinstance(queues, list | tuple) else (),
        slots=number_of(fields.get("slots", 0)),
        running=number_of(fields.get("running", 0)),
        children=number_of(fields.get("children", 0)),
        leaving=number_of(fields.get("leaving", 0)),
        hung=number_of(fields.get("hung", 0)),
        started=moment(number_of(fields.get("started", 0))),
        beat=moment(beat),
        is_gone=now - beat > gone_us,
        state=str(fields.get("state", "")),
        state_by=str(fields.get("state_by", "")),
        obeyed=str(fields.get("obeyed", "")),
        version=str(fields.get("version", "")),
        scale_max=int(fields.get("scale_max", 0)),
        undecorated=_texts(fields.get("undecorated")),
        cpus=int(fields.get("cpus", 0)),
        kinds=_texts(fields.get("kinds")),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def purge_queue(space: Space, queue: str, by: str | None) -> Verb[int]:
    """Cancel every waiting job of a queue, in bounded batches; how many there were."""
    every = yield from lanes(space, queue)
    count = 0
    for lane in every:
        for section in inspect.SECTIONS:
            skip = 0
            while True:
                _, rows = value((yield (inspect.waiting(lane, section, skip=skip),)))
                if not rows:
                    break
                ids = [row.id for row in rows if has_id(row)]
                skip += len(rows) - len(ids)
                count += yield from cancel_many(space, ids, by)
    return count


def statistics(space: Space) -> Verb[dict[str, Any]]:
    """Counts of the whole fleet, as the user's document asks for them."""
    every = yield from queues(space)
    alive = [worker for worker in (yield from workers(space)) if not worker.is_gone]
    total = {word: sum(row.totals[word] for row in every) for word in TOTALS}
    finished = total["completed"] + total["failed"]
    spent = sum((row.run_time for row in every), timedelta()).total_seconds()
    return {
        "total": total["enqueued"],
        "blocked": sum(row.blocked for row in every),
        "scheduled": sum(row.scheduled for row in every),
        "queued": sum(row.queued for row in every),
        "running": sum(row.running for row in every),
        "retrying": sum(row.retrying for row in every),
        "completed": total["completed"],
        "failed": total["failed"],
        "cancelled": total["cancelled"],
        "expired": total["expired"],
        "queue_size": sum(row.queued + row.scheduled + row.blocked + row.retrying for row in every),
        "by_priority": {
            priority.name.lower(): sum(row.by_priority[priority.name.lower()] for row in every) for priority in Priority
        },
        "dead_letters": sum(row.dead for row in every),
        "workers": len(alive),
        "average_duration": spent / finished if finished else 0.0,
        "success_rate": total["completed"] / finished if finished else 0.0,
        "by_queue": {row.name: _of_queue(row) for row in every},
    }


def _of_queue(row: QueueInfo) -> dict[str, Any]:
    finished = row.totals["completed"] + row.totals["failed"]
    return {
        "total": row.totals["enqueued"],
        "blocked": row.blocked,
        "scheduled": row.scheduled,
        "queued": row.queued,
        "running": row.running,
        "retrying": row.retrying,
        **{word: row.totals[word] for word in ENDINGS},
        "dead_letters": row.dead,
        "average_duration": row.run_time.total_seconds() / finished if finished else 0.0,
        "success_rate": row.totals["completed"] / finished if finished else 0.0,
    }
