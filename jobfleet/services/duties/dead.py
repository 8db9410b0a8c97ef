"""The dead duty: files new dead letters, records them in their groups, and reports groups that are new or come back."""

from __future__ import annotations

import logging

from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.operations.dead.filing import Change, file_all
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.services.duties.lanes import Lanes
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace

log = logging.getLogger("jobfleet.reaper")
EVERY = 1.0
NODE_PATIENCE = 2.0
"""Seconds to wait for a node of a cluster. The turn then fails, and the next one leaves its lanes out."""
SIGNS = ("dlq",)


class Dead(Service):
    """Files the dead letters of every lane.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings.
        tally: Counts the metrics.
    """

    name = "dead"

    def __init__(self, store: AsyncStore, keys: Keyspace, config: JobConfig, tally: Tally) -> None:
        super().__init__(tally)
        self._store = store = store.within(NODE_PATIENCE)
        self._lanes = Lanes(store, keys, signs=SIGNS)
        self._context = FleetContext(config)

    async def turn(self) -> float:
        """File what is new."""
        await self._lanes.look()
        lanes = [lane for lane in await self._lanes.due() if not self._store.is_away(lane)]
        for change in await drive(self._store, file_all(self._context, lanes)):
            _report(change)
        return EVERY


def _report(change: Change) -> None:
    group = change.group
    what = "new_group" if change.is_new else "regressed"
    log.warning(
        "dead_letters.%s fingerprint=%s function=%s error=%s job_id=%s",
        what, group.fingerprint, group.function, group.error_class, group.example,
    )  # fmt: skip
