"""Statistics: counts per queue, and of the last endings per function and user; and what is sealed with each key."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from operator import attrgetter
from typing import Any

from jobfleet.codec import header_or_empty
from jobfleet.model import JobResult, Priority
from jobfleet.model.fields import COUNTED
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.listing import endings
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.queues import ENDINGS, TOTALS, QueueInfo, queues
from jobfleet.operations.workers import workers
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Lane
from jobfleet.store.records import DeadLetter, Running, Waiting


def statistics(context: FleetContext, *, sample: int = 0) -> Operation[dict[str, Any]]:
    """Count the jobs of the fleet and of each queue, and its last endings per function and per user.

    Args:
        context: The context of the fleet.
        sample: How many of the last ended jobs are read for ``by_function`` and ``by_user``; 0 leaves these out.

    Raises:
        InvalidJob: `sample` is not a whole number from 0.
    """
    check_number(sample, field="sample", least=0)
    totals = yield from fleet_totals(context)
    if sample:
        last = yield from endings(context, limit=sample)
        totals["sampled"] = len(last)
        totals["by_function"] = _grouped(last, lambda row: row.function)
        for name in COUNTED:
            texts = attrgetter(name)
            totals[f"by_{name}"] = _grouped((row for row in last if texts(row) is not None), texts)
    return totals


def _grouped(rows: Iterable[JobResult[Any]], key: Callable[[JobResult[Any]], str]) -> dict[str, dict[str, Any]]:
    groups: defaultdict[str, list[JobResult[Any]]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return {name: _summary(groups[name]) for name in sorted(groups)}


def _summary(rows: list[JobResult[Any]]) -> dict[str, Any]:
    counts = {word: sum(row.status.value == word for row in rows) for word in ENDINGS}
    finished = counts["completed"] + counts["failed"]
    spent = [row.duration.total_seconds() for row in rows if row.duration is not None]
    return {
        "total": len(rows),
        **counts,
        "average_duration": sum(spent) / len(spent) if spent else 0.0,
        "success_rate": counts["completed"] / finished if finished else 0.0,
    }


def fleet_totals(context: FleetContext) -> Operation[dict[str, Any]]:
    """Count the jobs of the fleet and of each queue."""
    every = yield from queues(context)
    alive = [worker for worker in (yield from workers(context)) if not worker.is_gone]
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
        "by_queue": {row.name: _queue_totals(row) for row in every},
    }


def _queue_totals(row: QueueInfo) -> dict[str, Any]:
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
        "paused": row.paused,
        "paused_reason": row.paused_reason,
        "average_duration": row.run_time.total_seconds() / finished if finished else 0.0,
        "success_rate": row.totals["completed"] / finished if finished else 0.0,
    }


MOST = 10_000
"""The most jobs that are read per lane, of those that wait, run, and are dead letters each."""
NO_KEY = ""


def count_uses(context: FleetContext) -> Operation[dict[str, int]]:
    """Return the number of open jobs and dead letters by the id of the key that sealed them; `NO_KEY` for none."""
    uses: Counter[str] = Counter()
    for lane in (yield from lanes(context)):
        for section in inspect.SECTIONS:
            yield from _waiting(lane, section, uses)
        yield from _running(lane, uses)
        yield from _dead(lane, uses)
    return dict(uses)


def _waiting(lane: Lane, section: int, uses: Counter[str]) -> Operation[None]:
    for skip in range(0, MOST, inspect.CHUNK):
        _, rows = value((yield (inspect.waiting(lane, section, skip=skip),)))
        uses.update(map(_key_of, rows))
        if len(rows) < inspect.CHUNK:
            return


def _running(lane: Lane, uses: Counter[str]) -> Operation[None]:
    for skip in range(0, MOST, inspect.CHUNK):
        _, rows = value((yield (inspect.running(lane, skip=skip),)))
        uses.update(map(_key_of, rows))
        if len(rows) < inspect.CHUNK:
            return


def _dead(lane: Lane, uses: Counter[str]) -> Operation[None]:
    before = "+"
    for _ in range(0, MOST, inspect.CHUNK):
        rows = value((yield (inspect.dead(lane, before=before),)))
        uses.update(map(_key_of, rows))
        if len(rows) < inspect.CHUNK:
            return
        before = f"({rows[-1].entry}"


def _key_of(row: Waiting | Running | DeadLetter) -> str:
    return str(header_or_empty(row.envelope).get("kid", NO_KEY))
