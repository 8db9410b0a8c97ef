"""The metrics of the transactional outbox, read from its database."""

from __future__ import annotations

import asyncio
import logging

from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError
from jobfleet.event_loop import in_thread
from jobfleet.metrics.exporter import Values
from jobfleet.outbox import OutboxUnavailable, read_counts
from jobfleet.outbox.statements import Counts
from jobfleet.services.repeated_fault import RepeatedFault

log = logging.getLogger("jobfleet.reaper")
ANSWER = 2.0
"""Seconds for which a scrape waits for the database."""


class OutboxGauges:
    """Counts the rows of the outbox, if the settings name one. While its database is away, it has no values.

    Args:
        config: The settings.
    """

    def __init__(self, config: JobConfig) -> None:
        self._config = config
        self._fault = RepeatedFault(log, "metrics.outbox", began="not_read", ended="read")

    async def gauges(self) -> dict[str, Values]:
        """Read the values of the metrics."""
        counts = await self._counts(self._config.outbox_url) if self._config.outbox_url is not None else None
        if counts is None:
            return {"sql_outbox_rows": {}, "sql_outbox_lag_seconds": {}}
        states: Values = {("waiting",): counts.waiting, ("refused",): counts.refused}
        return {"sql_outbox_rows": states, "sql_outbox_lag_seconds": {(): counts.lag}}

    async def _counts(self, url: str) -> Counts | None:
        try:
            async with asyncio.timeout(ANSWER):
                counts = await in_thread(read_counts, url, self._config.namespace)
        except (OutboxUnavailable, ConfigError, TimeoutError) as error:
            self._fault.failed(str(error) or "the database did not answer in time")
            return None
        self._fault.fine()
        return counts
