"""A worker that fires recurring jobs while the fleet has no reaper."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.functions.manifest import read_cron
from jobfleet.metrics.tally import Tally
from jobfleet.services.long_lived import RepeatedFault
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.presence import Attended, attend
from jobfleet.store.keys import Keyspace

LOOK = 15.0
"""Maximal seconds between checks by a worker that does not fire: one short script, with or without entries."""
LOOK_BEATS = 3
"""Heartbeats between its checks, if they are shorter."""


class CronStandin:
    """Fires recurring jobs while no live reaper has announced itself.

    At most two workers of a fleet do so at once. Correctness does not depend on this limit, because a fire happens only
    once. The limit keeps a large fleet from reading the entries a thousand times per second.

    Args:
        store: The connection to Redis.
        config: The settings.
        tally: Counts the metrics of the duty.
        log: The worker's logger.
        process: The worker's id.
        functions: Returns the records that this worker has published, by function.
    """

    def __init__(
        self,
        store: AsyncStore,
        config: JobConfig,
        tally: Tally,
        log: logging.Logger,
        *,
        process: str,
        functions: Callable[[], Mapping[str, bytes]],
    ) -> None:
        self._store = store
        self._keys = Keyspace.of(config)
        self._config = config
        self._tally = tally
        self._log = log
        self._process = process
        self._functions = functions
        self._trouble = RepeatedFault(log, "cron")
        self._cron: Service | None = None

    @property
    def duties(self) -> Sequence[Service]:
        """The cron duty, while this worker runs it."""
        return () if self._cron is None else (self._cron,)

    async def watch(self) -> None:
        """Check for reapers repeatedly, and fire while there is none."""
        await asyncio.sleep(self._config.beat)  # a reaper that starts at the same time announces itself first
        while True:
            await self._check()
            await asyncio.sleep(self._config.beat if self.duties else min(LOOK, LOOK_BEATS * self._config.beat))

    async def _check(self) -> None:
        try:
            await self.look()
            self._trouble.succeeded()
        except JobfleetError as error:
            self._trouble.failed(str(error))

    async def look(self) -> None:
        """Check once: start, continue or stop firing."""
        wanted = any(read_cron(record) is not None for record in list(self._functions().values()))
        call = attend(self._keys, self._process, "worker", gone_us=round(self._config.gone_after * 1e6), wanted=wanted)
        attended = await self._store.run(call)
        if attended.fires and self._cron is None:
            self._begin()
        elif not attended.fires and self._cron is not None:
            await self._end(attended)

    def _begin(self) -> None:
        from jobfleet.services.duties.cron import Cron  # imports croniter, which most workers do not need

        self._cron = Cron(self._store, self._config, self._tally)
        self._cron.start()
        self._log.info("cron.taken no reaper is alive: this worker fires recurring jobs until one is")

    async def _end(self, attended: Attended) -> None:
        cron, self._cron = self._cron, None
        if cron is not None:
            await cron.stop()
        why = "a reaper is alive and fires" if attended.reapers else "no entry exists, or other workers fire"
        self._log.info("cron.left %s recurring jobs", why)

    async def stop(self) -> None:
        """Stop firing, and let another process take over at once; Redis may be unavailable."""
        if self._cron is not None:
            await self._cron.stop()
            self._cron = None
            with suppress(JobfleetError):
                gone_us = round(self._config.gone_after * 1e6)
                await self._store.run(attend(self._keys, self._process, "nobody", gone_us=gone_us), patience=1.0)
