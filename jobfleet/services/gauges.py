"""The metrics of the whole fleet, read from Redis. The cost does not grow with the number of waiting jobs.

A scrape costs three round trips: for the fleet, with a read-only script per lane, and for the gates, 50 per trip. A
reading is valid for a second, so ten scrapers cost as much as one. While Redis does not reply, no outdated values are
served.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.cron import Times, from_us
from jobfleet.errors import ConfigError, EncodingError, InvalidJob, JobfleetError
from jobfleet.event_loop import in_thread
from jobfleet.metrics.catalog import METRICS
from jobfleet.metrics.exporter import Exporter, Values
from jobfleet.model.limits import BreakerInfo, NamedLimit
from jobfleet.operations.cron import lane_at, times_of
from jobfleet.operations.fires import read_outcomes
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.gates import gates
from jobfleet.operations.operation import by_lane, drive
from jobfleet.operations.queues import QueueInfo, queue_info
from jobfleet.operations.workers import WorkerInfo, workers_of
from jobfleet.outbox import OutboxUnavailable, read_counts
from jobfleet.outbox.statements import Counts as OutboxCounts
from jobfleet.services.long_lived import RepeatedFault
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls import cron as cron_calls
from jobfleet.store.calls import inspect
from jobfleet.store.fleet import FleetReader
from jobfleet.store.keys import Lane
from jobfleet.store.records import Counts

log = logging.getLogger("jobfleet.reaper")
FRESH = 1.0
PATIENCE = 2.0
ANSWER = 4.0
"""Seconds for which a scrape waits for Redis; scrapers themselves wait for 10."""

READ = tuple(metric.name for metric in METRICS if metric.where == "fleet" and metric.name != "redis_up")
COUNTED = frozenset(metric.name for metric in METRICS if metric.where == "fleet" and metric.type == "counter")
STATES = ("queued", "scheduled", "blocked", "retrying", "running")
ENDINGS = ("completed", "failed", "cancelled", "expired")
BREAKER_STATES = {"closed": 0.0, "half-open": 0.5, "open": 1.0}
WORKER_STATES = ("running", "quiet", "stopping", "gone")


class FleetGauges:
    """Updates the fleet's metrics of an exporter. Create it on the store's event loop.

    Args:
        store: The connection to Redis.
        config: The settings.
        exporter: Receives the metrics.
    """

    def __init__(self, store: AsyncStore, config: JobConfig, exporter: Exporter) -> None:
        self._store = store
        self._context = FleetContext(config)
        self._exporter = exporter
        self._loop = asyncio.get_running_loop()
        self._lock = Lock()
        self._read_at = float("-inf")
        self._counted: dict[str, Values] = {}
        self._pace = MeanDuration()
        self._lateness = CronLateness(self._context)
        self._outbox = OutboxGauges(config)
        self._reader = FleetReader(store, self._context.keys)

    def refresh(self) -> None:
        """Read the metrics, unless they are fresh; call it from any thread except the loop's."""
        with self._lock:
            if monotonic() - self._read_at < FRESH:
                return
            reading = asyncio.run_coroutine_threadsafe(self.read(), self._loop)
            try:
                reading.result(ANSWER)
            except (JobfleetError, TimeoutError) as error:
                reading.cancel()
                log.warning("metrics.not_read %s", error or "Redis did not answer in time")
                self._forget()
            self._read_at = monotonic()

    def _forget(self) -> None:
        for name in READ:
            self._exporter.clear(name)
        self._exporter.set("redis_up", (), 0)

    async def read(self) -> None:
        """Read the metrics once.

        Raises:
            JobfleetError: Redis did not reply.
        """
        keys = self._context.keys
        calls: list[Call[Any]] = [inspect.fleet(keys), inspect.memory(keys), cron_calls.timetable(keys)]
        *answers, fired = await self._store.run_many([*calls, cron_calls.fire_outcomes(keys)], patience=PATIENCE)
        seen, memory, (now, kept) = _whole(answers)
        seen = await self._reader.completed(seen, patience=PATIENCE)
        lanes = [
            lane for name, (_, count) in sorted(seen.queues.items()) for lane in self._context.lanes_of(name, count)
        ]
        marks = self._lateness.questions(kept, seen.queues)
        answers = await self._store.run_many([*map(inspect.counts, lanes), *marks], patience=PATIENCE)
        by_queue: dict[str, list[Counts]] = {name: [] for name in seen.queues}
        for lane, answer in zip(lanes, answers, strict=False):
            if isinstance(answer, JobfleetError):  # leave out the whole queue, because half of it would mislead
                log.error("metrics.not_read lane=%s %s", lane.tag, answer)
                by_queue.pop(lane.queue, None)
            elif lane.queue in by_queue:
                by_queue[lane.queue].append(answer)
        queues = [queue_info(name, rows) for name, rows in by_queue.items()]
        memory_used: Values = {(): memory[0]}
        memory_most: Values = {(): memory[1]}
        found: dict[str, Values] = {
            **_jobs(queues),
            **_counts(by_queue),
            **_workers(workers_of(self._context, seen), [queue.name for queue in queues]),
            **await self._outbox.gauges(),
            **_gates(*await drive(self._store, gates(self._context))),
            **self._lateness.gauges(answers[len(lanes) :], now),
            **_fires(fired, self._lateness.names),
            "redis_memory_used_bytes": memory_used,
            "redis_memory_max_bytes": memory_most,
        }
        slots = found["queue_slots"]
        found["queue_backlog_seconds"] = {
            (queue.name,): queue.queued * mean / max(1, slots[queue.name,])
            for queue in queues
            if (mean := self._pace.mean(queue)) is not None
        }
        self._show(found, [queue.name for queue in queues], self._lateness.names)

    def _show(self, found: Mapping[str, Values], queues: Iterable[str], entries: Iterable[str]) -> None:
        self._exporter.begin("leases_expired_total", [(queue,) for queue in queues])
        self._exporter.begin(
            "cron_fires_total", [(name, outcome) for name in entries for outcome in ("fired", "missed", "overlapped")]
        )
        for name in READ:
            values = found[name]
            self._exporter.replace(name, self._steady(name, values) if name in COUNTED else values)
        self._exporter.set("redis_up", (), 1)

    def _steady(self, name: str, values: Values) -> Values:
        """Keep the previous value of a counter that fell slightly, as after the loss of a primary's last writes.

        Prometheus takes a falling counter for a reset, and would count its whole value as an increase.
        """
        before = self._counted.get(name, {})
        self._counted[name] = {
            labels: before[labels] if value < before.get(labels, 0) < 2 * value else value
            for labels, value in values.items()
        }
        return self._counted[name]


def _whole(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, JobfleetError):
            raise answer
    return answers


def _jobs(queues: Iterable[QueueInfo]) -> dict[str, Values]:
    rows = list(queues)
    return {
        "jobs": {(row.name, state): getattr(row, state) for row in rows for state in STATES},
        "jobs_enqueued_total": {(row.name,): row.totals["enqueued"] for row in rows},
        "jobs_replayed_total": {(row.name,): row.totals["replayed"] for row in rows},
        "jobs_ended_total": {(row.name, state): row.totals[state] for row in rows for state in ENDINGS},
        "queue_latency_seconds": {(row.name,): row.latency.total_seconds() for row in rows},
        "queue_paused": {(row.name,): float(row.paused is not None) for row in rows},
        "dead_letters": {(row.name,): row.dead for row in rows},
        "journal_events": {(row.name,): row.unread for row in rows},
        "journal_dropped_total": {(row.name,): row.dropped for row in rows},
    }


def _counts(by_queue: Mapping[str, list[Counts]]) -> dict[str, Values]:
    def total(word: str) -> Values:
        return {(name,): sum(row.totals.get(word, 0) for row in rows) for name, rows in by_queue.items()}

    return {
        "jobs_suspended_total": total("suspended"),
        "signals_total": total("signalled"),
        "jobs_expiring": {(name,): sum(row.expiring for row in rows) for name, rows in by_queue.items()},
        "outbox_records": {(name,): sum(row.outbox for row in rows) for name, rows in by_queue.items()},
        "outbox_latency_seconds": {
            (name,): max((max(0, row.now - row.unrelayed) / 1e6 for row in rows if row.unrelayed), default=0.0)
            for name, rows in by_queue.items()
        },
    }


def _workers(workers: list[WorkerInfo], queues: Iterable[str]) -> dict[str, Values]:
    states = dict.fromkeys(WORKER_STATES, 0.0)
    for one in workers:
        state = "gone" if one.is_gone else one.state if one.state in states else "running"
        states[state] += 1
    claiming = [one for one in workers if not one.is_gone and one.state == "running"]
    serving = {queue: [one for one in claiming if queue in one.queues] for queue in queues}
    slots: Values = {(queue,): float(sum(one.slots for one in found)) for queue, found in serving.items()}
    used: Values = {(queue,): float(sum(one.running for one in found)) for queue, found in serving.items()}
    return {
        "workers": {(state,): number for state, number in states.items()},
        "worker_up": {(one.id, one.version): float(not one.is_gone) for one in workers},
        "worker_last_heartbeat_timestamp_seconds": {(one.id,): one.beat.timestamp() for one in workers if one.beat},
        "queue_workers": {(queue,): float(len(found)) for queue, found in serving.items()},
        "queue_slots": slots,
        "queue_slots_used": used,
        "queue_busy_ratio": {queue: used[queue] / number for queue, number in slots.items() if number},
    }


def _gates(limits: Sequence[NamedLimit], breakers: Sequence[BreakerInfo]) -> dict[str, Values]:
    # The number of the breakers of groups grows with the work, so these have no metrics.
    few = [one for one in breakers if not one.name.startswith("group:")]
    return {
        "limit_running": {(one.name,): float(one.running) for one in limits},
        "limit_concurrency": {(one.name,): float(one.most) for one in limits if one.most is not None},
        "limit_rate_left": {(one.name,): float(one.left) for one in limits if one.left is not None},
        "limit_closed": {(one.name,): float(one.closed_for > 0) for one in limits},
        "breaker_state": {(one.name,): BREAKER_STATES[one.state] for one in few},
    }


def _fires(records: Mapping[str, bytes] | JobfleetError, names: Iterable[str]) -> dict[str, Values]:
    """How many jobs of each recurring job failed in a row, and when the last one completed."""
    rows = {} if isinstance(records, JobfleetError) else records
    known = {name: read_outcomes(name, rows[name]) for name in names if name in rows}
    return {
        "cron_failures": {(name,): float(one.failures) for name, one in known.items()},
        "cron_last_success_timestamp_seconds": {
            (name,): one.success.ended / 1e6 for name, one in known.items() if one.success is not None
        },
    }


class CronLateness:
    """Computes the last fire and the lateness of each entry, in a process that does not fire them.

    Args:
        context: The fleet's names and settings.

    Attributes:
        names: The entries of the last reading.
    """

    def __init__(self, context: FleetContext) -> None:
        self._context = context
        self._read: dict[str, tuple[bytes, Times]] = {}
        self._next: dict[tuple[str, bytes, int], datetime | None] = {}
        self._asked: list[tuple[Lane, list[cron_calls.Scheduled]]] = []
        self.names: list[str] = []

    def questions(
        self, kept: Iterable[cron_calls.Scheduled], queues: Mapping[str, tuple[int, int]]
    ) -> list[Call[list[tuple[int, str]]]]:
        """Return the calls that read the progress mark of each entry; pass their replies to `gauges`.

        Args:
            kept: The times of the entries.
            queues: Numbers of home lanes and of lanes by queue.
        """
        found: list[tuple[Lane, cron_calls.Scheduled]] = []
        for row in kept:
            entry = self._entry(row)
            if entry is not None:
                home = queues.get(entry.queue, (self._context.config.lanes.get(entry.queue, 1), 1))[0]
                found.append((lane_at(self._context.keys, entry, home), row))
        self._asked = by_lane(found, cron_calls.CHUNK)
        self.names = [row.name for _, rows in self._asked for row in rows]
        for name in self._read.keys() - set(self.names):
            del self._read[name]
        return [cron_calls.marks(lane, [row.name for row in rows]) for lane, rows in self._asked]

    def gauges(self, answers: Sequence[Any], now_us: int) -> dict[str, Values]:
        """Return the time of the last fire, and the seconds for which a fire has been due, by entry.

        Args:
            answers: The replies to `questions`, in the same order.
            now_us: Redis's time in µs.
        """
        last: Values = {}
        late: Values = {}
        following: dict[tuple[str, bytes, int], datetime | None] = {}
        for (_, rows), answer in zip(self._asked, answers, strict=True):
            if isinstance(answer, JobfleetError):
                continue
            for row, (mark, _) in zip(rows, answer, strict=True):
                if mark:
                    last[row.name,] = mark / 1e6
                begin = max(mark, row.since)
                key = (row.name, row.record, begin)
                due = following[key] = self._next[key] if key in self._next else self._following(row, begin)
                is_due = due is not None and row.paused is None
                late[row.name,] = max(0.0, now_us / 1e6 - due.timestamp()) if is_due and due is not None else 0.0
        self._next = following
        return {"cron_last_fire_timestamp_seconds": last, "cron_lateness_seconds": late}

    def _entry(self, row: cron_calls.Scheduled) -> Times | None:
        known = self._read.get(row.name)
        if known is None or known[0] != row.record:
            try:
                known = (row.record, times_of(row.record))
            except (InvalidJob, EncodingError):
                return None  # a later version wrote it; the cron duty logs this
            self._read[row.name] = known
        return known[1]

    def _following(self, row: cron_calls.Scheduled, begin_us: int) -> datetime | None:
        fire = self._read[row.name][1].cron.next(from_us(begin_us))
        return None if fire is None else fire.at


WINDOW = 300.0
APART = 10.0


class MeanDuration:
    """Computes the recent mean duration of the runs of queues, from samples of their counters over a window.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._marks: dict[str, deque[tuple[float, int, float]]] = {}

    def mean(self, queue: QueueInfo) -> float | None:
        """Return the mean duration of recent runs in seconds, else of all runs; None if there is none."""
        now = self._clock()
        ended, spent = queue.totals["completed"] + queue.totals["failed"], queue.run_time.total_seconds()
        marks = self._marks.setdefault(queue.name, deque())
        if not marks or now - marks[-1][0] >= APART:
            marks.append((now, ended, spent))
        while len(marks) > 1 and now - marks[0][0] > WINDOW:
            marks.popleft()
        _, before, spent_before = marks[0]
        if ended > before and spent >= spent_before:
            return (spent - spent_before) / (ended - before)
        return spent / ended if ended else None


# The metrics of the transactional outbox, read from its database.


DATABASE_ANSWER = 2.0
"""Seconds for which a scrape waits for the database."""


class OutboxGauges:
    """Counts the rows of the outbox, if the settings name one. While its database is away, it has no values.

    Args:
        config: The settings.
    """

    def __init__(self, config: JobConfig) -> None:
        self._config = config
        self._fault = RepeatedFault(log, "metrics.outbox", began="not_read", ended="read")

    async def gauges(self) -> dict[str, Values]:
        """Read the values of the metrics."""
        counts = await self._counts(self._config.outbox_url) if self._config.outbox_url is not None else None
        if counts is None:
            return {"sql_outbox_rows": {}, "sql_outbox_lag_seconds": {}}
        states: Values = {("waiting",): counts.waiting, ("refused",): counts.refused}
        return {"sql_outbox_rows": states, "sql_outbox_lag_seconds": {(): counts.lag}}

    async def _counts(self, url: str) -> OutboxCounts | None:
        try:
            async with asyncio.timeout(DATABASE_ANSWER):
                counts = await in_thread(read_counts, url, self._config.namespace)
        except (OutboxUnavailable, ConfigError, TimeoutError) as error:
            self._fault.failed(str(error) or "the database did not answer in time")
            return None
        self._fault.succeeded()
        return counts
