"""Diagnose a fleet: convert a checkup to findings. Pure, except `look`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jobfleet.operations.doctor import (
    access,
    cluster,
    database,
    fleet,
    lanes,
    payloads,
    replicas,
    server,
    unreadable,
)
from jobfleet.operations.doctor.findings import Diagnosis, Finding
from jobfleet.operations.doctor.snapshot import Checkup, take
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation
from jobfleet.operations.results import moment
from jobfleet.operations.unreadable import noting

Check = Callable[[Checkup], Finding]

CHECKS: tuple[Check, ...] = (
    server.version,
    server.eviction,
    server.persistence,
    replicas.replicas,
    cluster.cluster,
    server.memory,
    server.results,
    server.scripts,
    server.clock,
    access.clocks,
    access.user,
    access.tls,
    access.keys,
    fleet.workers,
    fleet.versions,
    fleet.service,
    fleet.functions,
    payloads.payload_store,
    fleet.queues,
    lanes.hot,
    fleet.leases,
    fleet.cron,
    fleet.samples,
    fleet.limits,
    unreadable.damage,
    lanes.runs,
    lanes.waiting,
    lanes.locks,
    lanes.lifetimes,
    fleet.long,
    fleet.outbox,
    database.database,
    fleet.journal,
    fleet.paused,
    fleet.gates,
    fleet.dead,
)
"""The checks in the order of the report. The name of a check is the name of its finding."""


def diagnose(seen: Checkup) -> Diagnosis:
    """Run every check on a checkup."""
    return Diagnosis(moment(seen.now), tuple(check(seen) for check in CHECKS))


def look(context: FleetContext, *, is_open: bool | None = None) -> Operation[Diagnosis]:
    """Read a checkup, and diagnose it.

    Args:
        context: The fleet.
        is_open: Whether anybody can connect without a password; None if this is not known.
    """
    with noting() as noted:
        seen = yield from take(context, is_open=is_open)
    return diagnose(replace(seen, damage=(*dict.fromkeys([*seen.damage, *noted]),)))
