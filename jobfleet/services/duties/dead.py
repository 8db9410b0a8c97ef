"""The duties for dead letters: new ones are filed and reported in groups, and rescues are carried out step by step."""

from __future__ import annotations

import logging

from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.operations.dead_groups import Change, file_all
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.operations.rescues import Advanced, advance
from jobfleet.services.duties.lanes import Lanes
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.dead import StoredRescue, rescues
from jobfleet.store.keys import Keyspace

log = logging.getLogger("jobfleet.reaper")
EVERY = 1.0
NODE_PATIENCE = 2.0
"""Seconds to wait for a node of a cluster. The turn then fails, and the next one leaves its lanes out."""
SIGNS = ("dlq",)


class Dead(Service):
    """Files the dead letters of every lane, records them in their groups, and reports groups that are new or come back.

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


RESCUE_EVERY, RESCUE_IDLE = 0.2, 1.0


class Rescues(Service):
    """Carries out all rescues of dead letters that are not over, a step at a time.

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
        return RESCUE_EVERY if going else RESCUE_IDLE

    def _report(self, one: StoredRescue, step: Advanced) -> None:
        noted = step.noted
        for outcome in noted.outcomes:
            self.tally.count("rescued_jobs_total", (outcome,))
        if noted.state == noted.before:
            return
        level = logging.WARNING if noted.state == "stopped" else logging.INFO
        log.log(level, "rescue.%s id=%s in_flight=%d", noted.state, one.id, noted.flying)
