"""The HTTP endpoint of a reaper for metrics, health and scaling. A hosted reaper reports to its worker instead."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgpack

from jobfleet.config import JobConfig
from jobfleet.metrics.exporter import Exporter
from jobfleet.metrics.outage import Outage
from jobfleet.metrics.server import MetricsServer
from jobfleet.metrics.tally import Tally
from jobfleet.services.gauges import FleetGauges
from jobfleet.services.health import Heart, healthy, ready
from jobfleet.services.scale_endpoint import SCALE, ScaleAnswers
from jobfleet.services.service import DutySeen, Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace

log = logging.getLogger("jobfleet.reaper")
REPORT_EVERY = 1.0


class MetricsEndpoint:
    """Serves the metrics and the health of a reaper.

    Args:
        port: The port to serve on.
        config: The settings.
        store: The connection to Redis; it belongs to the running loop.
        duties: The duties of the reaper.
        tally: Counts the metrics of the duties.
        outage: Knows whether Redis replies.

    Raises:
        ConfigError: The port is in use.
    """

    def __init__(
        self,
        port: int,
        config: JobConfig,
        store: AsyncStore,
        duties: Sequence[Service],
        tally: Tally,
        outage: Outage,
    ) -> None:
        self._outage = outage
        self._duties = duties
        self._tally = tally
        self._exporter = Exporter(namespace=config.namespace)
        self._fleet = FleetGauges(store, config, self._exporter)
        heart = Heart(store, Keyspace.of(config))
        self._server = MetricsServer(
            self._exporter,
            port,
            config.metrics_host,
            refresh=self._refresh,
            probes={
                "/healthz": partial(healthy, lambda: [duty.seen for duty in duties], config.healthy_within),
                "/readyz": partial(ready, heart),
            },
            lookups={SCALE: ScaleAnswers(store, config)},
        )
        log.info("metrics.serving port=%d", self._server.port)

    def _refresh(self) -> None:
        self._fleet.refresh()
        self._exporter.merge(self._tally.take())
        self._exporter.set("redis_connected", (), float(self._outage.is_connected))
        show_duties(self._exporter, [duty.seen for duty in self._duties])

    def close(self) -> None:
        """Stop serving."""
        self._server.close()


def show_duties(exporter: Exporter, duties: Sequence[DutySeen]) -> None:
    """Set the time of each duty's last success."""
    for duty in duties:
        if duty.succeeded_at:
            exporter.set("reaper_last_success_timestamp_seconds", (duty.name,), duty.succeeded_at)


async def report_on(pipe: int, duties: Sequence[Service], tally: Tally) -> None:
    """Report the counts and the state of the duties every second to the process that hosts this reaper."""
    os.set_blocking(pipe, False)
    unsent = b""
    while True:
        if not unsent:
            unsent = msgpack.packb([tally.take(), [duty.seen for duty in duties]])
        try:
            unsent = unsent[os.write(pipe, unsent) :]
        except BrokenPipeError:  # the host is gone, so this reaper stops too
            return
        except BlockingIOError:
            pass
        await asyncio.sleep(REPORT_EVERY if not unsent else 0.05)


def read_report(report: Any) -> tuple[list[Any], list[DutySeen]] | None:
    """Read the output of `report_on`; return None if it is not valid."""
    match report:
        case [[*rows], [*duties]]:
            with suppress(TypeError):
                return rows, [DutySeen(*duty) for duty in duties]
    return None
