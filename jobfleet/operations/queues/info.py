"""List the queues of a fleet with their counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobfleet.errors import StoreUnavailable
from jobfleet.model import Priority
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import EachLane, Operation, value
from jobfleet.operations.results import moment
from jobfleet.store.calls import inspect
from jobfleet.store.calls.control import read_functions
from jobfleet.store.keys import BANDS
from jobfleet.store.records import Counts

ENDINGS = ("completed", "failed", "cancelled", "expired")
TOTALS = ("enqueued", "completed", "failed", "cancelled", "expired", "retried", "lost", "replayed")


@dataclass(frozen=True, slots=True)
class FunctionPause:
    """A function that is paused in a queue.

    Attributes:
        function: The name of the function.
        by: Who paused it; None for nobody in particular.
        since: When it was paused.
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
        name: The name of the queue.
        lanes: The number of its lanes.
        queued: Jobs that are due now.
        scheduled: Jobs that are due later for the first time.
        blocked: Jobs that wait for other jobs.
        retrying: Jobs that are due later again; approximate while some of them are due already.
        running: Running jobs.
        dead: Dead letters.
        by_priority: Waiting jobs per priority.
        latency: For how long the oldest due job has been due.
        paused: Who paused the queue; None when it is not paused.
        totals: Counts since the queue was created.
        run_time: The sum of the times of all finished runs.
        paused_reason: Why it is paused; may be empty.
        paused_functions: The functions that are paused in it.
        unread: Events in its journal that a consumer has not acknowledged.
        dropped: Events that were dropped before a consumer acknowledged them, because the journal was full.
        durability: The durability that was set for its jobs; None if none was.
        away: The numbers of lanes that are not counted, because their node of the cluster does not reply.
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
    durability: str | None = None
    away: Sequence[int] = ()


def queues(context: FleetContext) -> Operation[list[QueueInfo]]:
    """List every queue with its present counts."""
    every = yield from lanes(context)
    if not every:
        return []
    answers: list[Any] = yield EachLane([inspect.counts(lane) for lane in every])
    by_queue: dict[str, list[Counts]] = {lane.queue: [] for lane in every}
    away: dict[str, list[int]] = {lane.queue: [] for lane in every}
    for lane, answer in zip(every, answers, strict=True):
        if isinstance(answer, StoreUnavailable):
            away[lane.queue].append(lane.index)
        else:
            by_queue[lane.queue].append(value([answer]))
    return [queue_info(name, rows, away=away[name]) for name, rows in by_queue.items()]


def queue_info(name: str, rows: Sequence[Counts], *, away: Sequence[int] = ()) -> QueueInfo:
    """Sum the counts of the lanes of a queue.

    Args:
        name: The name of the queue.
        rows: The counts of its lanes.
        away: The numbers of lanes without counts.
    """
    later = sum(sum(row.later) for row in rows)
    retrying = min(later, sum(max(0, row.totals.get("retrying", 0)) for row in rows))
    oldest = max((row.now - row.oldest_due for row in rows if row.oldest_due), default=0)
    waiting = {
        Priority(3 - band).name.lower(): sum(row.due[band] + row.later[band] + row.blocked[band] for row in rows)
        for band in range(BANDS)
    }
    return QueueInfo(
        name=name,
        lanes=len(rows) + len(away),
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
        durability=next((row.durability for row in rows if row.durability), None),
        away=tuple(away),
    )


def _paused_functions(rows: Sequence[Counts]) -> Iterator[FunctionPause]:
    paused = {name: pause for row in reversed(rows) for name, pause in read_functions(row.functions).items()}
    for name, pause in sorted(paused.items()):
        yield FunctionPause(name, pause.by, moment(pause.at), pause.reason)
