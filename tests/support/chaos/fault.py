"""What a fault is, and how one run with it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.support.chaos.case import Case
from tests.support.chaos.figures import Verdict, figures
from tests.support.chaos.history import read_history
from tests.support.chaos.servers import AnyServer, Single
from tests.support.chaos.stage import Stage
from tests.support.fleet import ROOT
from tests.support.waiting import wait_until

RATE = 40.0
"""Jobs per second of the load."""
FROM, TO = 0.15, 0.75
"""The part of the load within which faults begin."""
FAULTS: dict[str, Fault] = {}


class Fault(NamedTuple):
    """One fault.

    Attributes:
        name: What it is called on the command line.
        does: What it does, in one sentence.
        inject: Injects it once.
        times: How often.
        server: Makes the server.
        proxy: Whether clients reach it through a proxy.
        prepare: Changes the stage before anything is started.
        why_not: Says why it cannot be injected on this machine; empty if it can.
    """

    name: str
    does: str
    inject: Callable[[Stage], None]
    times: int
    server: Callable[[], AnyServer]
    proxy: bool
    prepare: Callable[[Stage], None] | None
    why_not: Callable[[], str]


def fault(
    name: str,
    does: str,
    *,
    times: int = 2,
    server: Callable[[], AnyServer] = Single,
    proxy: bool = False,
    prepare: Callable[[Stage], None] | None = None,
    why_not: Callable[[], str] = lambda: "",
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register a fault; its function injects it once."""

    def registered(inject: Callable[[Stage], None]) -> Callable[[Stage], None]:
        FAULTS[name] = Fault(name, does, inject, times, server, proxy, prepare, why_not)
        return inject

    return registered


def run(
    one: Fault,
    *,
    seed: int,
    jobs: int,
    folder: Path,
    root: Path = ROOT,
    workers: int = 2,
    seconds: float | None = None,
    level: str = "",
    has_features: bool = False,
    retention: float | None = None,
    has_users: bool = False,
    has_tls: bool = False,
) -> Verdict:
    """Run a fault under load; answer the verdict.

    Args:
        one: The fault.
        seed: Of every choice.
        jobs: How many jobs producers ask for.
        folder: Where the history goes, and stays.
        root: The folder whose package runs.
        workers: How many workers are kept up.
        seconds: How long the load takes; default by its rate.
        level: The durability of the jobs; default as the fault prepares it, else `fast`.
        has_features: Whether half of the load uses the newer features.
        retention: Seconds for which what has ended is kept; None for the defaults.
        has_users: Whether each program connects as the Redis user of its role.
        has_tls: Whether programs reach a single server through TLS.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.time()
    server = one.server()
    has_tls = has_tls and isinstance(server, Single)
    stage = Stage(server, folder, seed, proxy=one.proxy, has_users=has_users, has_tls=has_tls, root=root)
    try:
        if one.prepare:
            one.prepare(stage)
        stage.level, stage.has_features = level or stage.level, has_features
        if retention is not None:
            stage.keep_for(retention)
        stage.open(workers)
        length = seconds or max(6.0, jobs / RATE)
        stage.load(jobs, length)
        wait_until(lambda: any(one.op == "enqueue" for one in read_history(folder)), why="a producer works")
        inject(stage, one, length)
        stage.finish(one.name, begun)
    finally:
        stage.close()
    return figures(Case.read(folder))


def inject(stage: Stage, one: Fault, length: float) -> None:
    """Inject a fault so often, at times that the dice choose."""
    begun = time.monotonic()
    times = sorted(stage.dice.uniform(FROM * length, TO * length) for _ in range(one.times))
    for at in times:
        stage.is_over.wait(max(0.0, begun + at - time.monotonic()))
        stage.nemesis.note("invoke", one.name)
        one.inject(stage)
        stage.nemesis.note("ok", one.name)
    while stage.is_loading and time.monotonic() < begun + length:
        stage.is_over.wait(0.1)
