"""All faults by name, and those that cannot be injected here, with the reason."""

from __future__ import annotations

import tests.support.chaos.faults_mixed
import tests.support.chaos.faults_of_clusters
import tests.support.chaos.faults_of_networks
import tests.support.chaos.faults_of_processes
import tests.support.chaos.faults_of_redis  # noqa: F401 - they register their faults
from tests.support.chaos.fault import FAULTS, Fault

QUICK = ("kill-child", "swallow-reply")
"""What the tests run each time."""

NOT_INJECTED = {
    "power-failure": "needs a virtual machine that is switched off; `aof-loss` cuts the file as one would",
    "packet-loss": "needs tc netem, which the kernel must have; the proxy drops, delays and holds instead",
    "leap-second": "Redis's TIME is POSIX time, which has none",
}
"""Faults of the catalogue that no run injects, with the reason."""


def chosen(names: list[str] | None) -> list[Fault]:
    """Faults by name; all of them for None."""
    return [FAULTS[name] for name in names] if names else list(FAULTS.values())
