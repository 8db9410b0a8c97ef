"""The samples duty: reads the counters of the fleet every ten seconds and writes what has changed, for its history.

One process does so for the whole fleet; if it dies, another one takes over within 25 seconds and continues from the
stored counters. Jobs pay nothing for it: the counters of lanes exist anyway, and workers report their runs with their
heartbeats.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from jobfleet.codec import decode
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError, JobfleetError
from jobfleet.event_loop import in_thread
from jobfleet.metrics.tally import Tally
from jobfleet.operations.operation import batches
from jobfleet.samples.point import (
    FIRST_GAUGE,
    OLDEST,
    RUN,
    STARTED,
    TOTAL,
    WAIT,
    Point,
    function_series,
    join,
    queue_series,
)
from jobfleet.samples.resolution import FINE, SECOND_US
from jobfleet.services.duties.lanes import Lanes
from jobfleet.services.sample_counters import Counters
from jobfleet.services.sample_writer import MOST_SERIES, SampleWriter, whole
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import inspect
from jobfleet.store.calls import samples as calls
from jobfleet.store.keys import WORK, Keyspace, Lane
from jobfleet.store.records import Counts, FleetSeen, WorkerSeen

log = logging.getLogger("jobfleet.reaper")
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
            from jobfleet.services.hour_archive import HourArchive  # for those with an archive

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
