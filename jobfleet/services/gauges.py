"""The gauges duty: how much stands where, for scrapers. Its cost does not grow with waiting jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jobfleet.client import admin
from jobfleet.client.space import Space
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore

if TYPE_CHECKING:
    from jobfleet.metrics.exporter import Exporter

EVERY = 5.0


class Gauges(Service):
    """Reads the counts of every queue.

    Args:
        store: How.
        config: The settings.
        exporter: Where the gauges go.
        tally: Where it counts.
    """

    name = "gauges"

    def __init__(self, store: AsyncStore, config: JobConfig, exporter: Exporter, tally: Tally) -> None:
        super().__init__(tally)
        self._store = store
        self._space = Space(config)
        self._exporter = exporter

    async def turn(self) -> float:
        """Read them once."""
        verb = admin.queues(self._space)
        answers = None
        while True:
            try:
                answers = await self._store.run_many(verb.send(answers))  # type: ignore[arg-type]  # None starts it
            except StopIteration as end:
                queues: list[admin.QueueInfo] = end.value
                break
        states = ("queued", "scheduled", "retrying", "running")
        self._exporter.replace("jobs", {(row.name, state): getattr(row, state) for row in queues for state in states})
        self._exporter.replace("queue_latency_seconds", {(row.name,): row.latency.total_seconds() for row in queues})
        self._exporter.replace("queue_paused", {(row.name,): float(row.paused is not None) for row in queues})
        self._exporter.replace("dead_letters", {(row.name,): row.dead for row in queues})
        self._exporter.merge(self.tally.take())
        self._exporter.set("reaper_last_success_timestamp_seconds", (self.name,), time.time())
        return EVERY
