"""Copies the audit from Redis into the archive; a part of the archive duty.

Every reaper copies what it has not read yet, from the last record in the database. A record that is written twice
changes nothing, so reapers need not agree.
"""

from __future__ import annotations

from typing import Any

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.event_loop import in_thread
from jobfleet.operations.audit import newer
from jobfleet.operations.operation import drive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace

EVERY = 1.0
"""Seconds between looks at the audit."""


class AuditCopy:
    """Copies new records of the audit.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        engine: The database.
        config: The settings.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, engine: Any, config: JobConfig) -> None:
        from jobfleet.archive.copies import AuditArchive

        self._store = store
        self._archive = AuditArchive(engine, config.namespace, keys.seals)
        self._keys = keys
        self._after: str | None = None
        self._look_at = float("-inf")

    async def turn(self) -> None:
        """Copy the records that are new since the last turn, if it is time.

        Raises:
            DBAPIError: The database is unreachable, or lacks tables or rights. The next turn reads the records again.
        """
        if monotonic() < self._look_at:
            return
        if self._after is None:
            self._after = await in_thread(self._archive.last)
        while True:
            found = await drive(self._store, newer(self._keys, self._after))
            if found.records:
                await in_thread(self._archive.write, found.records)
            self._after = found.after
            if found.is_last:
                break
        self._look_at = monotonic() + EVERY

    def prune(self, age: float) -> int:
        """Delete records that are older; return how many."""
        return self._archive.prune(age)
