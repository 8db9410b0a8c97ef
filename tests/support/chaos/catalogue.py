"""All faults by name, and those that cannot be injected here, with the reason."""

from __future__ import annotations

import tests.support.chaos.faults.clusters
import tests.support.chaos.faults.groups
import tests.support.chaos.faults.mixed
import tests.support.chaos.faults.networks
import tests.support.chaos.faults.processes
import tests.support.chaos.faults.servers  # noqa: F401 - they register their faults
from tests.support.chaos.fault import FAULTS, Fault

QUICK = ("kill-child", "swallow-reply", "replicated-planned")
"""What the tests run each time."""

LEVELS = ("fast", "replicated", "fsync")
LEVEL_FAULTS = ("failover", "planned-failover", "wake-primary", "failover-lost-writes", "partition-primary")
"""What `--levels` runs under jobs of each durability level."""

NOT_INJECTED = {
    "power-failure": "needs a virtual machine that is switched off; `aof-loss` cuts the file as one would",
    "packet-loss": "needs tc netem, which the kernel must have; the proxy drops, delays and holds instead",
    "leap-second": "Redis's TIME is POSIX time, which has none",
}
"""Faults of the catalogue that no run injects, with the reason."""


def chosen(names: list[str] | None) -> list[Fault]:
    """Faults by name; all of them for None."""
    return [FAULTS[name] for name in names] if names else list(FAULTS.values())
