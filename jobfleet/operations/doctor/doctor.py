"""What is wrong with a fleet: from a checkup to findings. Pure but for `look`."""

from __future__ import annotations

from collections.abc import Callable

from jobfleet.operations.doctor import fleet, lanes, server, unreadable
from jobfleet.operations.doctor.findings import Diagnosis, Finding
from jobfleet.operations.doctor.snapshot import Checkup, take
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation
from jobfleet.operations.results import moment

Check = Callable[[Checkup], Finding]

CHECKS: tuple[Check, ...] = (
    server.version,
    server.eviction,
    server.persistence,
    server.memory,
    server.results,
    server.clock,
    fleet.workers,
    fleet.versions,
    fleet.service,
    fleet.functions,
    fleet.leases,
    fleet.cron,
    unreadable.damage,
    lanes.runs,
    lanes.waiting,
    lanes.locks,
    lanes.lifetimes,
    fleet.long,
    fleet.outbox,
    fleet.journal,
    fleet.paused,
    fleet.dead,
)
"""In the order in which they are told. The name of each is that of its finding."""


def diagnose(seen: Checkup) -> Diagnosis:
    """Ask every check."""
    return Diagnosis(moment(seen.now), tuple(check(seen) for check in CHECKS))


def look(context: FleetContext) -> Operation[Diagnosis]:
    """Take a checkup and judge it."""
    return diagnose((yield from take(context)))
