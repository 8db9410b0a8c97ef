"""What is wrong with a fleet: from a checkup to findings. Pure but for `look`."""

from __future__ import annotations

from collections.abc import Callable

from jobfleet.client import damage_checks, fleet_checks, lane_checks, server_checks
from jobfleet.client.checkup import Checkup, take
from jobfleet.client.diagnosis import Diagnosis, Finding
from jobfleet.client.report import moment
from jobfleet.client.space import Space
from jobfleet.client.verbs import Verb

Check = Callable[[Checkup], Finding]

CHECKS: tuple[Check, ...] = (
    server_checks.version,
    server_checks.eviction,
    server_checks.persistence,
    server_checks.memory,
    server_checks.results,
    server_checks.clock,
    fleet_checks.workers,
    fleet_checks.versions,
    fleet_checks.service,
    fleet_checks.functions,
    fleet_checks.leases,
    fleet_checks.cron,
    damage_checks.damage,
    lane_checks.runs,
    lane_checks.waiting,
    lane_checks.locks,
    lane_checks.lifetimes,
    fleet_checks.long,
    fleet_checks.outbox,
    fleet_checks.journal,
    fleet_checks.paused,
    fleet_checks.dead,
)
"""In the order in which they are told. The name of each is that of its finding."""


def diagnose(seen: Checkup) -> Diagnosis:
    """Ask every check."""
    return Diagnosis(moment(seen.now), tuple(check(seen) for check in CHECKS))


def look(space: Space) -> Verb[Diagnosis]:
    """Take a checkup and judge it."""
    return diagnose((yield from take(space)))
