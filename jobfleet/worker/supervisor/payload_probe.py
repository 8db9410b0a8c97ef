"""Which payload store a worker sees, for its heartbeat and `doctor`."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError, JobfleetError, PayloadUnavailable
from jobfleet.payloads.payloads import Payloads
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import payload_store
from jobfleet.store.keys import Keyspace

log = logging.getLogger("jobfleet.worker")
EVERY = 60.0
"""Seconds between two looks, unless the fleet has founded its store in the meantime."""
PENDING = "pending"
EMPTY = "empty"
UNMOUNTED = "unmounted"
AWAY = "away: "


class PayloadProbe:
    """Looks once per minute whether the payload store can be read, and at once when the fleet has founded its store.

    Each heartbeat asks Redis for the identity of the fleet's store. No heartbeat waits for the store.

    Args:
        config: The settings, which name a store.
        store: The connection to Redis, which has the identity of the fleet's store.
        keys: The fleet's keys.
    """

    def __init__(self, config: JobConfig, store: AsyncStore, keys: Keyspace) -> None:
        self._payloads = Payloads(config)
        self._store, self._keys = store, keys
        self._seen = PENDING
        self._recorded = ""
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0

    def look(self) -> str:
        """Return the last finding, and look again in the background.

        Returns:
            The identity of the store; ``away: …`` if it cannot be read, ``pending`` before the first look, ``empty``
            if nobody has written to it, and ``unmounted`` if the fleet has written to its store, and this one is empty.
        """
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())
        return self._seen

    async def _look(self) -> None:
        try:
            with suppress(JobfleetError):  # first: the identity is in the store before it is in Redis
                recorded = await self._store.run(payload_store(self._keys))
                if recorded != self._recorded:
                    self._recorded, self._next = recorded, 0.0
            if monotonic() < self._next:
                return
            self._next = monotonic() + EVERY
            seen = await asyncio.to_thread(self._payloads.identity) or (UNMOUNTED if self._recorded else EMPTY)
        except (ConfigError, PayloadUnavailable) as error:
            seen = f"{AWAY}{error}"
        finally:
            self._task = None
        if seen.startswith(AWAY) and seen != self._seen:
            log.error("payloads.away %s", seen.removeprefix(AWAY))
        elif self._seen.startswith(AWAY) and seen != self._seen:
            log.info("payloads.back")
        self._seen = seen
