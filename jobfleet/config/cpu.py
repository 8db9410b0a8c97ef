"""The number of processors that this process can use."""

from __future__ import annotations

import os
from pathlib import Path

PROCESSES_MOST = 8

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def processors(*, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Count the processors allowed by CPU affinity and by the cgroup's quota, at least 1.

    A quota is rounded down, because a throttled process renews its leases late.

    Args:
        cgroups: The mount point of the cgroup file system.
        membership: The file that names this process's cgroups.
    """
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(given, _quota(cgroups, membership))))


def default_processes(*, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """The default number of processes of a worker: one per processor, at most 8; see `processors`."""
    return min(PROCESSES_MOST, processors(cgroups=cgroups, membership=membership))


def _quota(cgroups: Path, membership: Path) -> float:
    """Return the smallest quota, in processors, of this process's cgroup and its ancestors."""
    quotas = [float("inf")]
    for line in _read(membership).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        own = [part for part in path.split("/") if part not in {"", "..", "."}]
        branches = [own[:depth] for depth in range(len(own), -1, -1)]
        if number == "0" and not controllers:
            quotas += [_ratio(*_pair(_read(cgroups.joinpath(*branch, "cpu.max")))) for branch in branches]
        elif "cpu" in controllers.split(","):
            for branch in branches:
                at = cgroups.joinpath("cpu", *branch)
                quotas.append(_ratio(_read(at / "cpu.cfs_quota_us"), _read(at / "cpu.cfs_period_us")))
    return min(quotas)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _pair(text: str) -> tuple[str, str]:
    quota, _, period = text.partition(" ")
    return quota, period


def _ratio(quota: str, period: str) -> float:
    """Convert a quota to processors; no quota ('max', -1 or no file) is infinity."""
    if quota.isdigit() and period.isdigit() and int(period):
        return int(quota) / int(period)
    return float("inf")
