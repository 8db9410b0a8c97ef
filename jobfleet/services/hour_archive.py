"""Writes the samples of hours into the archive, from the minutes in Redis, which are kept for two days."""

from __future__ import annotations

import logging
from typing import Any

from jobfleet.archive import database_errors
from jobfleet.clock import monotonic
from jobfleet.config import JobConfig, mask_url
from jobfleet.config.table import needs_sql
from jobfleet.errors import ConfigError
from jobfleet.event_loop import in_thread
from jobfleet.samples.point import Point, follow, unpack, unpack_marks
from jobfleet.samples.resolution import ARCHIVED_S, COARSE, HOUR_S, SECOND_US
from jobfleet.services.repeated_fault import RepeatedFault
from jobfleet.services.sample_writer import whole
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace

log = logging.getLogger("jobfleet.archive")
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
        self._faults = RepeatedFault(log, "samples", began="not_archived", ended="archived")

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
        self._faults.fine()
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
