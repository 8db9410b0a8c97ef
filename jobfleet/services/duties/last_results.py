"""Removes the results of functions with `keep_last` before their TTL; a part of the retention duty."""

from __future__ import annotations

from heapq import heappush, heapreplace

from jobfleet.config import JobConfig
from jobfleet.errors import JobNotFound
from jobfleet.model import split_id, suffix_time_us
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.ended import CHUNK, endings, retire
from jobfleet.store.keys import LAST_KEPT_MS, Lane


class LastResults:
    """Removes all results of a function but the last ones, lane by lane.

    Args:
        store: The connection to Redis.
        config: The settings, for the times for which ids are remembered.
    """

    def __init__(self, store: AsyncStore, config: JobConfig) -> None:
        self._store = store
        self._generated_ms = round(config.dedupe_window * 1000)
        self._own_ms = round(config.own_id_window * 1000)

    async def trim(self, lane: Lane, name: str, most: int) -> None:
        """Remove the results of all jobs of an index but the `most` that ended last.

        The first pass finds the time before which jobs are removed. The second one removes them. Jobs that end in
        between are later than that time.
        """
        newest: list[tuple[int, str]] = []  # a heap, so the first one is the oldest
        now, ended, skip, more = 0, 0, 0, True
        while more:
            page = await self._store.run(endings(lane, name, skip=skip))
            if page.size <= most:
                return
            now, ended, skip, more = page.now, ended + len(page.ended), skip + CHUNK, page.more
            for job_id, at in page.ended:
                if len(newest) < most:
                    heappush(newest, (at, job_id))
                elif (at, job_id) > newest[0]:
                    heapreplace(newest, (at, job_id))
        if ended > most:
            await self._remove(lane, name, newest[0], now - LAST_KEPT_MS * 1000)

    async def _remove(self, lane: Lane, name: str, oldest_kept: tuple[int, str], old_us: int) -> None:
        before_us = min(oldest_kept[0] + 1, old_us)
        skip, more = 0, True
        while more:
            page = await self._store.run(endings(lane, name, skip=skip))
            skip, more = skip + CHUNK, page.more
            early = [job_id for job_id, at in page.ended if (at, job_id) < oldest_kept and at < before_us]
            if early:
                jobs = [(job_id, self._remembered_ms(job_id)) for job_id in early]
                letters = await self._store.run(retire(lane, name, jobs, before_us=before_us))
                skip -= len(letters) - letters.count("s")  # the others have left the index

    def _remembered_ms(self, job_id: str) -> int:
        """For how long an id must be refused after the end of its job, because it may come again."""
        try:
            is_generated = suffix_time_us(split_id(job_id).suffix) is not None
        except JobNotFound:
            is_generated = False
        return self._generated_ms if is_generated else self._own_ms
