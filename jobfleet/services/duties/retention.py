"""The retention duty: deletes data that is too old or exceeds a limit, and logs the loss of dead letters.

It also moves damage aside (docs/adr/0012), which others may not be permitted to move, or meet too late.
"""

from __future__ import annotations

import logging

from jobfleet.config import JobConfig
from jobfleet.functions.manifest import read_function
from jobfleet.functions.options import keep_last_in
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.lanes import Lanes
from jobfleet.services.duties.last_results import LastResults
from jobfleet.services.duties.payloads import PayloadSweep
from jobfleet.services.places import free_places
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.control import trim
from jobfleet.store.calls.ended import function_of, indexes, sweep
from jobfleet.store.damage import judge, mend, places, survey, tell
from jobfleet.store.keys import KEPT, Keyspace, Lane
from jobfleet.store.records import FleetSeen

log = logging.getLogger("jobfleet.reaper")
EVERY = 60.0
NODE_PATIENCE = 2.0
"""Seconds to wait for a node of a cluster. The turn then fails, and the next one leaves its lanes out."""


class Retention(Service):
    """Trims the streams and indexes of every lane, and the payload store.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings, for the retention times.
        tally: Counts the metrics.
    """

    name = "retention"

    def __init__(self, store: AsyncStore, keys: Keyspace, config: JobConfig, tally: Tally) -> None:
        super().__init__(tally)
        self._store = store = store.within(NODE_PATIENCE)
        self._keys = keys
        self._config = config
        self._lanes = Lanes(store, keys, signs=KEPT)
        self._last = LastResults(store, config)
        self._payloads = PayloadSweep(store, keys, config)

    async def turn(self) -> float:
        """Trim every lane, its results that functions keep by number, and its indexes; then payloads and limits."""
        seen = await self._lanes.look()
        done_before = (seen.now - round(self._config.result_ttl * 1e6)) // 1000
        dead_before = (seen.now - round(self._config.dead_ttl * 1e6)) // 1000
        await self._mend(self._keys.tag)
        async for lane in self._lanes.occupied():
            if self._store.is_away(lane):
                continue
            await self._mend(lane.tag)
            call = trim(
                lane, done_before_ms=done_before, dead_before_ms=dead_before, dead_max=self._config.dead_max
            )  # fmt: skip
            gone, more = 0, True
            while more:
                _, letters, more = await self._store.run(call)
                gone += letters
            if gone:
                log.warning("dead_letters.let_go queue=%s lane=%d letters=%d", lane.queue, lane.index, gone)
            await self._sweep(lane, seen)
        await self._payloads.turn()
        if freed := await free_places(self._store, self._keys):
            log.info("places.freed places=%d their processes died", freed)
        return EVERY

    async def _mend(self, tag: str) -> None:
        """Move damage aside that those who meet it may not move, such as producers, or that nobody meets."""
        looked = places(tag)
        seen = await self._store.run(survey(tag, looked))
        found = judge(looked, seen.rows, seen.now)
        letters = await self._store.run_many([mend(tag, [one]) for one in found]) if found else []
        tell(tag, found, [letter if isinstance(letter, str) else None for letter in letters])

    async def _sweep(self, lane: Lane, seen: FleetSeen) -> None:
        """Clean the due indexes of a lane, page by page."""
        while names := await self._store.run(indexes(lane)):
            for name in names:
                if (function := function_of(name)) is not None and (record := seen.functions.get(function)):
                    most = keep_last_in(read_function(record))
                    if most is not None:
                        await self._last.trim(lane, name, most)
                skip, more = 0, True
                while more:
                    _, remaining, more = await self._store.run(sweep(lane, name, skip=skip))
                    skip += remaining
