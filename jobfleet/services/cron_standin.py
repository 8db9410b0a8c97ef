"""Recurring jobs where no reaper fires them: a worker does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.functions.manifest import read_cron
from jobfleet.metrics.tally import Tally
from jobfleet.services.repeated_fault import RepeatedFault
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.cron import Attended, attend
from jobfleet.store.keys import Keyspace

LOOK = 15.0
"""Seconds between looks of a worker that does not fire: one short script, whether or not there are entries."""


class CronStandin:
    """Fires recurring jobs for a fleet in which no live reaper has announced itself.

    At most two workers of a fleet do so at once. Nothing depends on that number: a fire happens once, however many
    look. It only keeps a large fleet from asking for the entries a thousand times per second.

    Args:
        store: How.
        config: The settings.
        tally: Where the duty counts.
        log: The worker's logger.
        process: The worker's id.
        functions: What this worker has published: functions by name.
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
        self._keys = Keyspace(config.namespace)
        self._config = config
        self._tally = tally
        self._log = log
        self._process = process
        self._functions = functions
        self._trouble = RepeatedFault(log, "cron")
        self._cron: Service | None = None

    @property
    def duties(self) -> Sequence[Service]:
        """The duty while this worker does it."""
        return () if self._cron is None else (self._cron,)

    async def watch(self) -> None:
        """Look for reapers for ever, and fire where there is none."""
        await asyncio.sleep(self._config.beat)  # a reaper that is started together with its workers comes first
        while True:
            try:
                await self.look()
                self._trouble.fine()
            except JobfleetError as error:
                self._trouble.failed(str(error))
            await asyncio.sleep(LOOK if self._cron is None else self._config.beat)

    async def look(self) -> None:
        """Look once: begin to fire, go on, or leave it to a reaper."""
        wanted = any(read_cron(record) is not None for record in list(self._functions().values()))
        call = attend(self._keys, self._process, "worker", gone_us=round(self._config.gone_after * 1e6), wanted=wanted)
        attended = await self._store.run(call)
        if attended.fires and self._cron is None:
            self._begin()
        elif not attended.fires and self._cron is not None:
            await self._end(attended)

    def _begin(self) -> None:
        from jobfleet.services.cron import Cron  # croniter is for those who use it

        self._cron = Cron(self._store, self._config, self._tally)
        self._cron.start()
        self._log.info("cron.taken no reaper is alive: this worker fires recurring jobs until one is")

    async def _end(self, attended: Attended) -> None:
        cron, self._cron = self._cron, None
        if cron is not None:
            await cron.stop()
        why = "a reaper is alive and fires" if attended.reapers else "no entry is left, or other workers fire"
        self._log.info("cron.left %s recurring jobs", why)

    async def stop(self) -> None:
        """Fire no more, and let another process do so at once; Redis may be away."""
        if self._cron is not None:
            await self._cron.stop()
            self._cron = None
            with suppress(JobfleetError):
                gone_us = round(self._config.gone_after * 1e6)
                await self._store.run(attend(self._keys, self._process, "nobody", gone_us=gone_us), patience=1.0)
