"""A worker's metrics: its children's counts added up, served by the supervisor."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.worker.undertaker import how_it_died

if TYPE_CHECKING:
    from jobfleet.metrics.exporter import Exporter
    from jobfleet.metrics.server import MetricsServer
    from jobfleet.worker.kin import Kin

log = logging.getLogger("jobfleet.worker")


class Scrape:
    """Nothing, unless a port is set.

    Args:
        config: Whether and where to serve metrics.
    """

    def __init__(self, config: JobConfig) -> None:
        self._port = config.metrics_port
        self._exporter: Exporter | None = None
        self._server: MetricsServer | None = None
        self._own = Tally()

    def start(self) -> None:
        """Begin to serve.

        Raises:
            ConfigError: The port is taken.
        """
        if self._port is None:
            return
        from jobfleet.metrics.exporter import Exporter
        from jobfleet.metrics.server import MetricsServer

        self._exporter = Exporter()
        self._server = MetricsServer(self._exporter, self._port)
        log.info("metrics.serving port=%d", self._server.port)

    def merge(self, delta: Iterable[Sequence[Any]]) -> None:
        """Add what a child has counted."""
        if self._exporter is not None:
            self._exporter.merge(delta)

    def crashed(self, code: int) -> None:
        """Count a child's death."""
        self._own.count("child_crashes_total", (how_it_died(code),))

    def hung(self) -> None:
        """Count a child that hangs."""
        self._own.count("child_hangs_total")

    def recycled(self, reason: str) -> None:
        """Count a child that is replaced while all is well."""
        self._own.count("child_recycles_total", (reason,))

    def worker(self, slots: int, children: Iterable[Kin], tally: Tally) -> None:
        """Set what a worker is."""
        kin = list(children)
        if self._exporter is not None:
            self._exporter.set("worker_slots", (), slots)
            self._exporter.set("worker_slots_used", (), sum(one.running for one in kin))
            self._exporter.set("worker_children", (), len(kin))
            self._exporter.merge(self._own.take())
        self.merge(tally.take())

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.close()
