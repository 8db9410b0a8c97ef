"""Unreadable rows: moved out of the way, stored as dead letters, counted and logged once.

Any component that meets such a row handles it: a child that claimed it, a supervisor that cleans up after a child, or a
process that ticks the lane.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from jobfleet.codec import seal_record
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.metrics.tally import Tally
from jobfleet.model import ErrorType
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.dead import CHUNK, REASON, letter_id, set_aside
from jobfleet.store.keys import Lane
from jobfleet.store.rows import Spoiled, shown

log = logging.getLogger("jobfleet.reaper")


class Unreadables:
    """Removes unreadable rows from lanes.

    Args:
        store: The connection to Redis.
        config: The settings, for the lifetime of the endings.
        tally: Counts the metrics.
    """

    def __init__(self, store: AsyncStore, config: JobConfig, tally: Tally) -> None:
        self._store = store
        self._ttl_ms = round(config.failed_result_ttl * 1000)
        self._tally = tally
        self._tasks: set[asyncio.Task[int]] = set()

    def begin(self, lane: Lane, rows: Iterable[Spoiled]) -> None:
        """Remove rows from a lane in the background; see `set_aside`."""
        task = asyncio.get_running_loop().create_task(self.set_aside(lane, rows))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until the background work is done; a later tick finds the rest."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout)

    async def set_aside(self, lane: Lane, rows: Iterable[Spoiled]) -> int:
        """Remove rows from a lane; return their number. If Redis refuses, log it; a later tick finds the rows again."""
        found, count = list(rows), 0
        for at in range(0, len(found), CHUNK):
            part = [(row, _record(row)) for row in found[at : at + CHUNK]]
            try:
                letters = await self._store.run(set_aside(lane, part, ttl_ms=self._ttl_ms))
            except JobfleetError as error:
                log.error("job.unreadable lane=%s rows=%d cannot be set aside: %s", lane.tag, len(part), error)
                continue
            for (row, _), letter in zip(part, letters, strict=True):
                count += letter in "ab"
                self._tell(lane, row, letter)
        return count

    def _tell(self, lane: Lane, row: Spoiled, letter: str) -> None:
        if letter == "a":
            self._tally.count("jobs_dead_lettered_total", (lane.queue, REASON))
            log.error("job.unreadable lane=%s %s: stored as dead letter %s", lane.tag, row.why, letter_id(lane, row.id))
        elif letter == "b":
            self._tally.count("jobs_retried_total", (lane.queue, REASON))
            log.error("run.unreadable job_id=%s %s: it runs again", shown(row.id), row.why)


def _record(row: Spoiled) -> bytes:
    return seal_record(
        {
            "error": row.why[:1000],
            "error_type": str(ErrorType.PERMANENT),
            "error_class": REASON,
        }
    )
