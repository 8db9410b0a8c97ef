"""The rescues duty: carries out the rescues of dead letters, a step at a time."""

from __future__ import annotations

import logging

from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.operations.dead.advance import Advanced, advance
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.dead import StoredRescue, rescues
from jobfleet.store.keys import Keyspace

log = logging.getLogger("jobfleet.reaper")
EVERY, IDLE = 0.2, 1.0


class Rescues(Service):
    """Carries out all rescues that are not over.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings.
        tally: Counts the metrics.
    """

    name = "rescues"

    def __init__(self, store: AsyncStore, keys: Keyspace, config: JobConfig, tally: Tally) -> None:
        super().__init__(tally)
        self._store = store
        self._keys = keys
        self._context = FleetContext(config)

    async def turn(self) -> float:
        """Do a step of each rescue."""
        going = await self._store.run(rescues(self._keys, is_open=True))
        for one in going:
            with self.sparing(f"rescue {one.id:.100}"):
                self._report(one, await drive(self._store, advance(self._context, one.id)))
        return EVERY if going else IDLE

    def _report(self, one: StoredRescue, step: Advanced) -> None:
        noted = step.noted
        for outcome in noted.outcomes:
            self.tally.count("rescued_jobs_total", (outcome,))
        if noted.state == noted.before:
            return
        level = logging.WARNING if noted.state == "stopped" else logging.INFO
        log.log(level, "rescue.%s id=%s in_flight=%d", noted.state, one.id, noted.flying)
