"""The cost of durability levels, as a ratio to `fast` on the same server."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.figure import Figure, Reading, Row
from bench.functions import add
from bench.setting import Server, Setting, fill
from jobfleet import Fleet, Job
from jobfleet.model.option_types import FAST, Durability

PART = 50
LEVELS: tuple[Durability, ...] = ("replicated", "fsync")


def durability(setting: Setting) -> Mapping[str, Reading]:
    """Enqueue one at a time and in bulk, with a replica and an append-only file that is synced after each write."""
    with setting.server() as primary, _replica(primary):
        primary.raw.config_set("appendfsync", "always")
        with Fleet(primary.url) as fleet:
            readings: dict[str, Reading] = {}
            for level in LEVELS:
                if level == "fsync":  # with the file, the server syncs after each write, also of `fast` jobs
                    primary.raw.config_set("appendonly", "yes")
                    primary.wait(lambda: primary.raw.info("persistence")["aof_rewrite_in_progress"] == 0, "it is begun")
                readings[f"durable_{level}"] = _single(fleet, level, setting.size(8, 2))
                readings[f"durable_bulk_{level}"] = _bulk(fleet, level, setting.size(20_000))
    return readings


@contextlib.contextmanager
def _replica(primary: Server) -> Iterator[None]:
    primary.raw.config_set("repl-diskless-sync-delay", 0)
    with tempfile.TemporaryDirectory(prefix="jobfleet-bench-", ignore_cleanup_errors=True) as folder:
        replica = Server(Path(folder), socket=False)
        try:
            replica.raw.replicaof("127.0.0.1", primary.raw.config_get("port")["port"])
            primary.wait(lambda: _confirms(primary), "the replica confirms writes")
            yield
        finally:
            replica.stop()


def _confirms(primary: Server) -> bool:
    primary.raw.set("probe", 1)
    confirmed: Any = primary.raw.wait(1, 100)
    return bool(confirmed)


def _single(fleet: Fleet, level: Durability, turns: int) -> Reading:
    """Both levels take turns, so that both meet the same machine."""
    spent: dict[Durability, float] = {level: 0.0, FAST: 0.0}
    fleet.enqueue(_job(level))
    for _ in range(turns):
        for each in spent:
            began = time.perf_counter()
            for _ in range(PART):
                fleet.enqueue(_job(each))
            spent[each] += time.perf_counter() - began
    return Reading(turns * PART / spent[level], turns * PART / spent[FAST])


def _bulk(fleet: Fleet, level: Durability, count: int) -> Reading:
    rates, levels = [], (level, FAST)
    for each in levels:
        began = time.perf_counter()
        fill(fleet, (_job(each) for _ in range(count)))
        rates.append(count / (time.perf_counter() - began))
    return Reading(rates[0], rates[1])


def _job(level: Durability) -> Job[Any]:
    return Job("bench", add.name, (10, 20), durability=level)


ROWS = (
    Row(
        "durability",
        tuple(
            figure
            for level in LEVELS
            for figure in (
                Figure(f"durable_{level}", f"enqueue one at a time, `{level}`", "jobs/s", "fast"),
                Figure(f"durable_bulk_{level}", f"enqueue in bulk, `{level}`", "jobs/s", "fast"),
            )
        ),
        durability,
    ),
)
