"""The check of the server's replicas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jobfleet.model.option_types import FAST
from jobfleet.operations.doctor.findings import Finding, Level
from jobfleet.operations.doctor.server import ALLOW_INFO, NOT_REPORTED
from jobfleet.operations.doctor.snapshot import Checkup
from jobfleet.operations.explain.reasons import counted
from jobfleet.store.call import REPLICATED, is_unguarded

UNGUARDED = (
    "Jobs of durability='fast' go to a primary that accepts them without its replicas. If it is cut off, it continues, "
    "and a failover loses most of what it has accepted meanwhile."
)
GUARD = "Set min-replicas-to-write 1 and min-replicas-max-lag 2 on all nodes."
SILENT = 10
"""Seconds without a word from a replica. A healthy one acknowledges every second."""


def replicas(seen: Checkup) -> Finding:
    """Whether the server is a primary, and can be replaced by a replica where Sentinels watch it."""
    role = seen.info.get("role")
    if role is None:
        return Finding("replicas", Level.NOTE, NOT_REPORTED, ALLOW_INFO)
    if role != "master":
        return Finding("replicas", Level.FAULT, "This server is a replica.", "Set --url / JOBFLEET_URL to the primary.")
    if seen.config.fails_over and FAST in seen.levels and is_unguarded(seen.info):
        return Finding("replicas", Level.FAULT, UNGUARDED, GUARD)
    every = list(_replicas(seen.info))
    away = [one for one in every if not _is_in_step(one)]
    text = f"{counted(len(every), 'replica')} in step." if every else "There is no replica."
    needed = max(1, seen.config.confirming_replicas)
    if REPLICATED in seen.levels and len(every) - len(away) < needed:
        text = f"{counted(len(every) - len(away), 'replica')} in step, but durability='replicated' needs {needed}."
        remedy = "Jobs of that durability are refused: start replicas, or lower durability_replicas."
        return Finding("replicas", Level.WARNING, text, remedy)
    if away:
        names = ", ".join(f"{one.get('ip', '?')}:{one.get('port', '?')}" for one in away)
        text = f"{counted(len(away), 'replica')} of {len(every)} not in step: {names}. "
        text += "A failover to such a replica loses writes."
        remedy = "Look at its log, and at the network between it and the primary."
        return Finding("replicas", Level.WARNING, text, remedy)
    return _watched(seen, text, has_replicas=bool(every)) or Finding("replicas", Level.OK, text)


def _watched(seen: Checkup, text: str, *, has_replicas: bool) -> Finding | None:
    """What is missing for a failover; None if nothing is, or if there is neither a Sentinel nor a replica."""
    if not has_replicas and not seen.config.url.lower().startswith("sentinel"):
        return None
    if not has_replicas:
        text = "The primary has no replica, so the Sentinels cannot replace it."
        return Finding("replicas", Level.WARNING, text, "Start a replica of it.")
    if not is_unguarded(seen.info):
        return None
    text += " A primary that is cut off would accept writes that a failover drops."
    return Finding("replicas", Level.NOTE, text, GUARD)


def _replicas(info: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The rows of INFO about the replicas, such as ``ip=10.0.0.2,port=6379,state=online,offset=42,lag=0``."""
    number = 0
    while (row := info.get(f"slave{number}")) is not None:
        yield dict(pair.split("=", 1) for pair in row.split(",") if "=" in pair)
        number += 1


def _is_in_step(replica: Mapping[str, str]) -> bool:
    lag = replica.get("lag", "0")
    return replica.get("state") == "online" and lag.isdigit() and int(lag) < SILENT
