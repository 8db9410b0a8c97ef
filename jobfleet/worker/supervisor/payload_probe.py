"""Which payload store a worker sees, for its heartbeat and `doctor`."""

from __future__ import annotations

import asyncio
import logging

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError, PayloadUnavailable
from jobfleet.payloads.payloads import Payloads

log = logging.getLogger("jobfleet.worker")
EVERY = 60.0
PENDING = "pending"
AWAY = "away: "


class PayloadProbe:
    """Looks once per minute whether the payload store can be read. No heartbeat waits for the store.

    Args:
        config: The settings, which name a store.
    """

    def __init__(self, config: JobConfig) -> None:
        self._payloads = Payloads(config)
        self._seen = PENDING
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0

    def look(self) -> str:
        """Return the last finding, and look again in the background if it is time.

        Returns:
            The identity of the store; ``away: …`` if it cannot be read, and ``pending`` before the first look.
        """
        if self._task is None and monotonic() >= self._next:
            self._next = monotonic() + EVERY
            self._task = asyncio.get_running_loop().create_task(self._look())
        return self._seen

    async def _look(self) -> None:
        try:
            seen = await asyncio.to_thread(self._payloads.identity) or "empty"
        except (ConfigError, PayloadUnavailable) as error:
            seen = f"{AWAY}{error}"
        finally:
            self._task = None
        if seen.startswith(AWAY) and seen != self._seen:
            log.error("payloads.away %s", seen.removeprefix(AWAY))
        elif self._seen.startswith(AWAY) and seen != self._seen:
            log.info("payloads.back")
        self._seen = seen
