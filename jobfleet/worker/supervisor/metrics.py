"""A worker's HTTP endpoint: the summed counts of its children, and its health, served by the supervisor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import how_it_died
from jobfleet.metrics.tally import Tally
from jobfleet.version import VERSION
from jobfleet.worker.ipc.usage import Meter, own_usage, total

if TYPE_CHECKING:
    from jobfleet.metrics.exporter import Exporter
    from jobfleet.metrics.outage import Outage
    from jobfleet.metrics.server import Lookup, MetricsServer
    from jobfleet.services.gauges import FleetGauges
    from jobfleet.services.service import DutySeen, Service
    from jobfleet.store.aio import AsyncStore
    from jobfleet.worker.supervisor.health import Health, ServingChildren

log = logging.getLogger("jobfleet.worker")


class WorkerMetrics:
    """Collects and serves the metrics of a worker; does nothing unless a port is set.

    Args:
        config: The settings, with the port and host.
        worker: The worker's id.
        tally: The counts of the supervisor.
    """

    def __init__(self, config: JobConfig, worker: str, tally: Tally) -> None:
        self._config = config
        self._labels = (worker, VERSION)
        self._tally = tally
        self._meter = Meter()
        self._child_processes: ServingChildren | None = None
        self._duties: Callable[[], Sequence[Service]] = tuple
        self._outage: Outage | None = None
        self._hosted: tuple[float, list[DutySeen]] = (0.0, [])
        self._exporter: Exporter | None = None
        self._fleet: FleetGauges | None = None
        self._health: Health | None = None
        self._server: MetricsServer | None = None

    def start(
        self,
        store: AsyncStore,
        child_processes: ServingChildren,
        duties: Callable[[], Sequence[Service]],
        outage: Outage,
    ) -> None:
        """Start serving.

        Args:
            store: The connection to Redis; it belongs to the running loop.
            child_processes: The children.
            duties: Returns the duties that the supervisor runs now.
            outage: Knows whether Redis replies.

        Raises:
            ConfigError: The port is in use.
        """
        config = self._config
        if config.metrics_port is None:
            return
        from jobfleet.metrics.exporter import Exporter
        from jobfleet.metrics.server import MetricsServer
        from jobfleet.services.endpoint import Heart
        from jobfleet.services.gauges import FleetGauges
        from jobfleet.store.keys import Keyspace
        from jobfleet.worker.supervisor.health import Health

        self._child_processes, self._duties, self._outage = child_processes, duties, outage
        self._exporter = Exporter(namespace=config.namespace)
        self._exporter.begin("child_hangs_total", [()])
        lookups: dict[str, Lookup] = {}
        if config.with_reaper:
            from jobfleet.services.endpoint import SCALE, ScaleAnswers

            self._fleet = FleetGauges(store, config, self._exporter)
            lookups[SCALE] = ScaleAnswers(store, config)
        self._health = Health(
            within=config.healthy_within,
            beat=config.beat,
            heart=Heart(store, Keyspace.of(config)),
            child_processes=child_processes,
            duties=self._all_duties,
        )
        self._hosted = (monotonic(), [])
        self._meter.loads({"": own_usage()})  # the first scrape shows the time since
        self._server = MetricsServer(
            self._exporter,
            config.metrics_port,
            config.metrics_host,
            refresh=self._refresh,
            probes={"/healthz": self._health.healthy, "/readyz": self._health.ready},
            lookups=lookups,
        )
        log.info("metrics.serving port=%d", self._server.port)

    def merge(self, delta: Iterable[Sequence[Any]]) -> None:
        """Add the counts of a child."""
        if self._exporter is not None:
            self._exporter.merge(delta)

    def hear_reaper(self, report: object) -> None:
        """Add the counts of the hosted reaper, and remember the state of its duties."""
        from jobfleet.services.endpoint import read_report

        read = read_report(report)
        if read is not None:
            rows, duties = read
            self._hosted = (monotonic(), duties)
            self.merge(rows)

    def pulsed(self, at: float) -> None:
        """Record the time of a child's claim or wait (boot-time clock)."""
        if self._health is not None:
            self._health.pulsed(at)

    def beaten(self) -> None:
        """Record that Redis accepted a heartbeat."""
        if self._health is not None:
            self._health.beaten()

    def crashed(self, code: int) -> None:
        """Count the death of a child."""
        self._tally.count("child_crashes_total", (how_it_died(code),))

    def hung(self) -> None:
        """Count a hung child."""
        self._tally.count("child_hangs_total")

    def recycled(self, reason: str) -> None:
        """Count the planned replacement of a child."""
        self._tally.count("child_recycles_total", (reason,))

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.close()

    # ----------------------------------------------------------------------------- from a scraper's thread

    def _refresh(self) -> None:
        if self._exporter is None or self._child_processes is None or self._outage is None:
            return
        if self._fleet is not None:
            self._fleet.refresh()
        self._exporter.merge(self._tally.take())
        self._exporter.set("redis_connected", (), float(self._outage.is_connected))
        handles = list(self._child_processes.by_pid.values())
        self._exporter.set("worker_slots", self._labels, self._config.slots * self._child_processes.size)
        self._exporter.set("worker_slots_used", self._labels, sum(one.running for one in handles))
        self._exporter.set("worker_children", self._labels, len(handles))
        used = total(self._meter.loads({"": own_usage(), **{one.child: one.usage for one in handles}}))
        self._exporter.set("worker_resident_memory_bytes", self._labels, used.memory or 0)
        if used.cpu is not None:
            self._exporter.set("worker_cpu_ratio", self._labels, used.cpu)
        for duty in self._all_duties():
            if duty.succeeded_at:
                self._exporter.set("reaper_last_success_timestamp_seconds", (duty.name,), duty.succeeded_at)

    def _all_duties(self) -> list[DutySeen]:
        """Return the state of each duty; if both supervisor and hosted reaper run it, the better state counts."""
        at, hosted = self._hosted
        since = monotonic() - at
        fares = [duty.seen for duty in self._duties()] + [duty._replace(idle=duty.idle + since) for duty in hosted]
        if self._config.with_reaper and not hosted:
            from jobfleet.services.service import DutySeen

            fares.append(DutySeen("hosted reaper", since, 0.0, 0.0, "it has not reported"))
        best: dict[str, DutySeen] = {}
        for duty in fares:
            if duty.name not in best or duty.idle < best[duty.name].idle:
                best[duty.name] = duty
        return list(best.values())
