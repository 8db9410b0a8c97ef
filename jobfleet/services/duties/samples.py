"""The samples duty: reads the counters of the fleet every ten seconds and writes what has changed, for its history.

One process does so for the whole fleet; if it dies, another one takes over within 25 seconds and continues from the
stored counters. Jobs pay nothing for it: the counters of lanes exist anyway, and workers report their runs with their
heartbeats.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgpack

from jobfleet.archive import database_errors
from jobfleet.clock import monotonic
from jobfleet.codec import decode
from jobfleet.config import JobConfig, mask_url
from jobfleet.config.table import needs_sql
from jobfleet.errors import ConfigError, EncodingError, JobfleetError
from jobfleet.event_loop import in_thread
from jobfleet.metrics.tally import Tally
from jobfleet.operations.operation import batches
from jobfleet.samples import (
    ARCHIVED_S,
    CANCELLED,
    COARSE,
    COMPLETED,
    ENQUEUED,
    EXPIRED,
    FAILED,
    FINE,
    FIRST_GAUGE,
    HOUR_S,
    OLDEST,
    RETRIED,
    RUN,
    SECOND_US,
    STARTED,
    TOTAL,
    WAIT,
    Name,
    Point,
    Points,
    Report,
    Resolution,
    difference,
    follow,
    function_series,
    join,
    pack,
    pack_mark,
    queue_series,
    read_report,
    unpack,
    unpack_marks,
)
from jobfleet.services.duties.lanes import Lanes
from jobfleet.services.long_lived import RepeatedFault
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import inspect
from jobfleet.store.calls import samples as calls
from jobfleet.store.keys import WORK, Keyspace, Lane
from jobfleet.store.records import Counts, FleetSeen, WorkerSeen
from jobfleet.store.rows import number_of

log = logging.getLogger("jobfleet.reaper")
archive_log = logging.getLogger("jobfleet.archive")

TOTALS = {
    "enqueued": ENQUEUED, "completed": COMPLETED, "failed": FAILED, "retried": RETRIED, "cancelled": CANCELLED,
    "expired": EXPIRED,
}  # fmt: skip
"""The counts of a lane, and the fields of a point for them."""
LANE, WORKER, READ_AT = "lane ", "worker ", "read"
FORGOTTEN = 360
"""Samples after which the counters of a worker that is gone, and reports nothing, are deleted."""


class Counters:
    """The counters at the last sample. They are stored with each sample, so that any process can take over.

    Attributes:
        read_at: When the reports of workers were last read, in µs of Redis's clock.
    """

    def __init__(self) -> None:
        self.read_at = 0
        self._lanes: dict[str, list[int]] = {}
        self._reports: dict[str, Report] = {}
        self._silent: dict[str, int] = {}  # worker → samples since its last report
        self._changed: dict[str, bytes] = {}

    def load(self, values: Mapping[str, bytes]) -> None:
        """Take the stored counters in place of those in memory. What cannot be read is left out."""
        self.read_at = number_of(values.get(READ_AT, b"0"))
        for kept in (self._lanes, self._reports, self._silent, self._changed):
            kept.clear()
        for name, value in values.items():
            if name.startswith(WORKER) and (report := read_report(value)) is not None:
                self._reports[name.removeprefix(WORKER)] = report
            elif name.startswith(LANE) and (counts := _counts(value)) is not None:
                self._lanes[name.removeprefix(LANE)] = counts

    def lane(self, lane: Lane, totals: Mapping[str, int]) -> Point:
        """Return what a lane has counted since the last sample, and remember its counters.

        A lane that is new has counted all of it. A counter that fell by less than half has lost its last writes in a
        failover; one that fell further began again, as after the loss of all data.
        """
        name = f"{lane.queue}:{lane.index}"
        now = [max(0, totals.get(word, 0)) for word in TOTALS]
        before = self._lanes.get(name)
        if now != before:
            self._lanes[name] = now
            self._changed[LANE + name] = msgpack.packb(now)
        grown = now if before is None else [_grown(*pair) for pair in zip(now, before, strict=True)]
        return {field: count for field, count in zip(TOTALS.values(), grown, strict=True) if count}

    def report(self, worker: str, encoded: bytes) -> dict[Name, Point]:
        """Return what a worker has counted since the last sample, by queue and function, and remember its report."""
        report, before = read_report(encoded), self._reports.get(worker)
        self._silent[worker] = 0
        if report is None or report == before:
            return {}
        if before is None:
            is_new = report.first == 0 or report.first >= self.read_at
            new = report.rows if is_new else {}  # it was counted before its counters were lost
        else:
            new = {}
            for name, row in report.rows.items():
                if (grown := difference(row, before.rows.get(name, {}))) is None:
                    return {}  # an older report that came late
                if grown:
                    new[name] = grown
        self._reports[worker] = report
        self._changed[WORKER + worker] = encoded
        return new

    def end(self, lanes: Collection[tuple[str, int]], workers: Collection[str]) -> dict[str, bytes]:
        """Return the counters that have changed; an empty value deletes one.

        Args:
            lanes: Queue and index of the lanes that exist.
            workers: The live workers.
        """
        places = {f"{queue}:{index}" for queue, index in lanes}
        for name in [name for name in self._lanes if name not in places]:
            del self._lanes[name]
            self._changed[LANE + name] = b""
        for worker in list(self._reports):
            silent = self._silent[worker] = 0 if worker in workers else self._silent.get(worker, 0) + 1
            if silent > FORGOTTEN:
                del self._reports[worker], self._silent[worker]
                self._changed[WORKER + worker] = b""
        changed, self._changed = self._changed, {}
        return {**changed, READ_AT: b"%d" % self.read_at}


def _grown(now: int, before: int) -> int:
    if now >= before:
        return now - before
    return 0 if before < 2 * now else now


def _counts(value: bytes) -> list[int] | None:
    try:
        given = msgpack.unpackb(value)
    except Exception:  # noqa: BLE001 - msgpack raises many kinds
        return None
    is_whole = isinstance(given, list) and len(given) == len(TOTALS) and all(type(one) is int for one in given)
    return given if is_whole else None


MOST_SERIES = 10_000
"""Maximum number of series in a chunk. A series that has something in each step takes about 200 kB."""
AT_ONCE = 20
"""Writes per round trip."""
STEPS = COARSE.step // FINE.step
"""Steps of ten seconds in a minute."""
NOTHING = (b"", 1)


class SampleWriter:
    """Writes points: steps of ten seconds, and minutes as soon as they are over. Remembers those of the last chunk.

    With thousands of series, packing and merging takes longer than other duties of the process can wait, so it is done
    in threads.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        process: The id of the process that has the duty.
        most: Maximum number of series.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, process: str, *, most: int = MOST_SERIES) -> None:
        self._store, self._keys, self._process, self._most = store, keys, process, most
        self._part = ""
        self._points: dict[str, Points] = {}
        self._marks: dict[int, int] = {}
        self._is_full = False

    async def load(self, last: int | None) -> None:
        """Read the chunk of the last step, which another process may have written."""
        self._part, self._points, self._marks = "" if last is None else FINE.place(last)[0], {}, {}
        if self._part:
            values = await whole(self._store, self._keys, self._part)
            self._marks = unpack_marks(values.pop("", b""))
            marks = self._marks
            self._points = await in_thread(
                lambda: {name: points for name, value in values.items() if (points := unpack(value, marks))}
            )

    async def write(self, index: int, epoch: int, series: Mapping[str, Point]) -> bool:
        """Write the points of a step; False if another process has the duty by now."""
        part, step = FINE.place(index)
        if part != self._part:
            self._part, self._points, self._marks = part, {}, {}
        if step in self._marks:  # the clock of Redis was set back
            for points in self._points.values():
                points.pop(step, None)
        for name, point in series.items():
            if point and self._has_room(name):
                self._points.setdefault(name, {})[step] = point
        self._marks[step] = epoch
        rows = [(name, points[step]) for name, points in self._points.items() if step in points]
        return await self._write(FINE, part, await in_thread(_packed, rows, step, epoch))

    def mark(self, index: int, epoch: int) -> tuple[str, bytes, int]:
        """Return the chunk of a step, its mark, and the lifetime of the chunk, for the commit."""
        part, step = FINE.place(index)
        return part, pack_mark(step, epoch), FINE.ttl_ms

    async def write_minute(self, last: int | None, index: int, epoch: int) -> tuple[str, bytes, int] | None:
        """Write the points of the minute of the last step, if the minute is over.

        Returns its chunk, its mark and the lifetime of the chunk, for the commit; None if another process has the duty.
        """
        if last is None or last // STEPS >= index // STEPS:
            return (COARSE.place(index // STEPS)[0], *NOTHING)
        part, minute = COARSE.place(last // STEPS)
        _, step = FINE.place(last)
        steps = range(step - step % STEPS, step - step % STEPS + STEPS)
        if not any(one in self._marks for one in steps):
            return (part, *NOTHING)
        rows = await in_thread(lambda: _packed(self._merged(steps), minute, epoch))
        if not await self._write(COARSE, part, rows):
            return None
        return part, pack_mark(minute, epoch), COARSE.ttl_ms

    def _merged(self, steps: Iterable[int]) -> Iterable[tuple[str, Point]]:
        for name, points in self._points.items():
            merged: Point = {}
            for step in steps:
                if step in self._marks:  # a step without a point is one in which nothing was counted or seen
                    follow(merged, points.get(step, {}))
            if merged:
                yield name, merged

    async def _write(self, resolution: Resolution, part: str, rows: list[tuple[str, bytes]]) -> bool:
        made = [
            calls.write_samples(self._keys, self._process, part, page, ttl_ms=resolution.ttl_ms)
            for page in batches(rows, calls.SERIES)
        ]
        for some in batches(made, AT_ONCE):
            answers: list[Any] = await self._store.run_many(some)
            for answer in answers:
                if isinstance(answer, JobfleetError):
                    raise answer
            if not all(answers):
                return False
        return True

    def _has_room(self, name: str) -> bool:
        if name == TOTAL or name in self._points or len(self._points) < self._most:
            return True
        if not self._is_full:
            self._is_full = True
            log.warning("samples.full series=%d: further queues and functions have no history", self._most)
        return False


def _packed(rows: Iterable[tuple[str, Point]], step: int, epoch: int) -> list[tuple[str, bytes]]:
    return [(name, pack(step, epoch, point)) for name, point in rows]


async def whole(store: AsyncStore, keys: Keyspace, part: str) -> dict[str, bytes]:
    """Read all series of a chunk, or all counters."""
    values: dict[str, bytes] = {}
    cursor = b"0"
    while True:
        page = await store.run(calls.sampled(keys, part, cursor))
        values |= page.values
        cursor = page.cursor
        if cursor == b"0":
            return values


LEASE_US = 25 * SECOND_US
LATE = 6
"""Steps. After a longer pause, what was counted in it belongs to no step, so it is left out: the history has a gap."""
LANES = 500
"""Lanes per round trip."""
MARGIN_US = 90 * SECOND_US
"""Reports that are this much older than the last ones are read again, because the clock of Redis may step back."""
LABEL_MAX = 100


class Samples(Service):
    """Samples the fleet.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings.
        tally: Counts the metrics.
        process: The id of this process.
        most: Maximum number of series.
    """

    name = "samples"

    def __init__(
        self,
        store: AsyncStore,
        keys: Keyspace,
        config: JobConfig,
        tally: Tally,
        *,
        process: str,
        most: int = MOST_SERIES,
    ) -> None:
        super().__init__(tally)
        self._store, self._keys, self._process = store, keys, process
        self._lanes = Lanes(store, keys, signs=(*WORK, "dlq"))
        self._counters = Counters()
        self._writer = SampleWriter(store, keys, process, most=most)
        self._is_loaded = False
        self._last: int | None = None
        self._versions: set[str] = set()
        self._hours: Any = None
        if config.archive_url is not None:
            self._hours = HourArchive(store, keys, config)

    async def turn(self) -> float:
        """Take a sample, if this process has the duty; return the seconds until the next one."""
        return await self.tick()

    async def stop(self) -> None:
        """Stop, and let another process take over at once; Redis may be away."""
        await super().stop()
        with suppress(JobfleetError):
            await self._store.run(calls.hold_samples(self._keys, self._process, lease_us=0), patience=1.0)
        if self._hours is not None:
            await self._hours.close()

    async def tick(self, now_us: int | None = None) -> float:
        """Take a sample, if this process has the duty and a step is over; return the seconds until the next one.

        Args:
            now_us: The time in µs in place of Redis's.
        """
        held = await self._store.run(calls.hold_samples(self._keys, self._process, lease_us=LEASE_US))
        if isinstance(held, int):
            self._is_loaded = False
            return max(1.0, min(FINE.step, held / SECOND_US))
        now = held.now if now_us is None else now_us
        index = FINE.step_at(now) - 1  # the step that is over
        rest = FINE.step - now / SECOND_US % FINE.step
        if held.last is not None and 0 <= held.last - index <= LATE:
            return rest / 0.9 + 0.05  # a duty sleeps for 0.9 to 1.0 of this
        try:
            is_done = await self._sample(held, index, now)
        except BaseException:
            self._is_loaded = False  # what is in memory may be ahead of what is stored
            raise
        self._is_loaded = is_done
        return rest / 0.9 + 0.05

    async def _sample(self, held: calls.Hold, index: int, now: int) -> bool:
        if not self._is_loaded or held.last != self._last:
            await self._load(held.last)
        epoch, last = held.epoch, held.last
        if last is not None and index < last:
            log.warning("samples.set_back the clock of Redis was set back by %d s", (last - index) * FINE.step)
            epoch, last, self._counters.read_at = epoch + 1, None, 0
        has_gap = last is None or index - last > LATE
        seen, series = await self._read(every_lane=has_gap)
        minute = await self._writer.write_minute(last, index, epoch)
        if minute is None or (not has_gap and not await self._writer.write(index, epoch, series)):
            return False
        versions = set(map(_version, seen.workers)) - self._versions - {""}
        part, mark, ttl_ms = self._writer.mark(index, epoch)
        commit = calls.Commit(
            last=index,
            epoch=epoch,
            hour=held.hour if self._hours is None else self._hours.last(held.hour),
            chunk=(part, b"" if has_gap else mark, ttl_ms),
            minute=minute,
            versions=sorted(versions),
            counters=self._counters.end(self._lanes.places, {worker.id for worker in seen.workers}),
        )
        if not await self._store.run(calls.commit_samples(self._keys, self._process, commit)):
            return False
        self._last = index
        self._versions |= versions
        if self._hours is not None:
            await self._hours.archive(now)
        return True

    async def _load(self, last: int | None) -> None:
        """Read what the last sample has stored; nothing if there is none."""
        stored = {} if last is None else await whole(self._store, self._keys, calls.COUNTERS)
        await in_thread(self._counters.load, stored)
        await self._writer.load(last)
        self._last = last
        self._versions.clear()

    async def _read(self, *, every_lane: bool) -> tuple[FleetSeen, dict[str, Point]]:
        """Read all counters; return the fleet, and what has happened since the last sample, by series."""
        series: defaultdict[str, Point] = defaultdict(dict)
        seen = await self._lanes.look()
        lanes = [self._keys.lane(*place) for place in self._lanes.places] if every_lane else await self._lanes.due()
        for some in batches(lanes, LANES):
            answers: list[Any] = await self._store.run_many([inspect.counts(lane) for lane in some])
            for lane, answer in zip(some, answers, strict=True):
                self._add_lane(series, lane, answer)
        for queue, function, new in await self._reports():
            runs = {field: new[field] for field in (STARTED, WAIT, RUN) if field in new}
            for name, point in ((queue_series(queue), runs), (TOTAL, runs), (function_series(function), new)):
                join(series[name], point)
        return seen, series

    def _add_lane(self, series: Mapping[str, Point], lane: Lane, answer: Counts | JobfleetError) -> None:
        if isinstance(answer, JobfleetError):
            log.error("samples.not_read lane=%s %s", lane.tag, answer)
            return
        point = self._counters.lane(lane, answer.totals)
        point |= _gauges(answer)
        join(series[queue_series(lane.queue)], point)
        join(series[TOTAL], point)

    async def _reports(self) -> Iterable[tuple[str, str, Point]]:
        since, skip, found = max(0, self._counters.read_at - MARGIN_US), 0, []
        read_at: int | None = None
        while True:
            page = await self._store.run(calls.run_reports(self._keys, since_us=since, skip=skip))
            read_at = page.now if read_at is None else read_at
            found += await in_thread(self._differences, page.reports)
            skip += calls.REPORTS
            if not page.more:
                self._counters.read_at = read_at
                return found

    def _differences(self, reports: Mapping[str, bytes]) -> list[tuple[str, str, Point]]:
        return [
            (*name, new)
            for worker, report in reports.items()
            for name, new in self._counters.report(worker, report).items()
        ]


def _gauges(counts: Counts) -> Point:
    seen = (sum(counts.due), sum(counts.later), sum(counts.blocked), counts.running, counts.dead)
    point: Point = {FIRST_GAUGE + place: number for place, number in enumerate(seen) if number > 0}
    if counts.oldest_due and counts.now > counts.oldest_due:
        point[OLDEST] = (counts.now - counts.oldest_due) // 1000
    return point


def _version(worker: WorkerSeen) -> str:
    """The label of a worker's code, or its version of jobfleet; empty if its account cannot be read."""
    try:
        fields = decode(worker.account) if worker.account else None
    except EncodingError:
        fields = None
    if not isinstance(fields, dict):
        return ""
    return str(fields.get("label") or fields.get("version") or "")[:LABEL_MAX]


BACK = COARSE.kept // HOUR_S - 2
"""Hours that are still in Redis as a whole."""
WRITTEN_AFTER = 2 * COARSE.step
"""Seconds after an hour until its last minute is written."""
PAUSE = 60.0


class HourArchive:
    """Writes one hour after the other. While the database is away, the minutes in Redis wait.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings, with the URL of the archive.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, config: JobConfig) -> None:
        if config.archive_url is None:
            raise ConfigError("There is no archive: set archive_url / JOBFLEET_ARCHIVE_URL.")
        with needs_sql("archive"):
            from jobfleet.archive import copies, schema
        self._store, self._keys, self._url = store, keys, config.archive_url
        self._namespace = config.namespace
        self._samples: Any = copies
        self._engine = schema.open_engine(config.archive_url)
        self._away: tuple[type[BaseException], ...] = database_errors()
        self._hour: int | None = None
        self._failed_at = float("-inf")
        self._faults = RepeatedFault(archive_log, "samples", began="not_archived", ended="archived")

    def last(self, stored: int | None) -> int | None:
        """Return the last archived hour; `stored` is what another process may have archived."""
        if stored is not None and (self._hour is None or stored > self._hour):
            self._hour = stored
        return self._hour

    async def archive(self, now_us: int) -> None:
        """Write the next hour, if one is over."""
        over = (now_us // SECOND_US - WRITTEN_AFTER) // HOUR_S - 1
        hour = over - BACK if self._hour is None else max(self._hour + 1, over - BACK)
        if hour > over or monotonic() - self._failed_at < PAUSE:
            return
        series = await self._read(hour)
        try:
            await in_thread(self._write, hour, series)
        except self._away as error:
            self._failed_at = monotonic()
            reason = str(error).split("\n", 1)[0]
            self._faults.failed(f"{mask_url(self._url)}: {reason}", level=logging.ERROR)
            return
        self._faults.succeeded()
        self._hour = hour

    async def _read(self, hour: int) -> dict[str, Point] | None:
        """Merge the minutes of an hour by series; None if there are none."""
        part, first = COARSE.place(hour * HOUR_S // COARSE.step)
        minutes = range(first, first + HOUR_S // COARSE.step)
        values = await whole(self._store, self._keys, part)
        return await in_thread(self._merged, values, minutes)

    def _merged(self, values: dict[str, bytes], minutes: range) -> dict[str, Point] | None:
        marks = {minute: epoch for minute, epoch in unpack_marks(values.pop("", b"")).items() if minute in minutes}
        if not marks:
            return None
        series: dict[str, Point] = {}
        for name, value in values.items():
            points = unpack(value, marks)
            if not points:
                continue
            merged: Point = {}
            for minute in sorted(marks):
                follow(merged, points.get(minute, {}))
            if merged:
                series[name] = merged
        return series

    def _write(self, hour: int, series: dict[str, Point] | None) -> None:
        if series is not None:
            self._samples.write_hour(self._engine, self._namespace, hour, series)
            self._samples.prune_hours(self._engine, self._namespace, before=hour - ARCHIVED_S // HOUR_S)

    async def close(self) -> None:
        """Close the database connections."""
        await in_thread(self._engine.dispose)
