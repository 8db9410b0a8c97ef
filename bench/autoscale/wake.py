"""The way from zero with real processes: a job comes, the endpoint asks for a worker, one is started, the job ends."""

from __future__ import annotations

import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from jobfleet import Fleet, Job
from tests.support.fleet import LONG, Program, Programs
from tests.support.scraping import probe
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

CODE = 'from jobfleet import job\n\n\n@job(name="woken.nothing", queue="woken")\ndef nothing() -> None:\n    pass\n'


class Wake(NamedTuple):
    """Seconds since the job was enqueued.

    Attributes:
        asked: Until the endpoint asked for a worker.
        serving: Until the worker that was started then was in the list of workers.
        ended: Until the job had ended.
    """

    asked: float
    serving: float
    ended: float


def measure(times: int) -> list[Wake]:
    """Measure it so many times on one server with one reaper, the first time with a queue that does not exist yet."""
    with tempfile.TemporaryDirectory() as place, RedisServer() as server, Fleet(server.url) as fleet:
        folder = Path(place)
        (folder / "woken.py").write_text(CODE)
        programs = Programs(server.url, folder)
        try:
            reaper = programs.reaper(metrics_port=0)
            return [_once(fleet, programs, reaper, folder) for _ in range(times)]
        finally:
            programs.close()


def _once(fleet: Fleet, programs: Programs, reaper: Program, folder: Path) -> Wake:
    begun = time.monotonic()
    job_id = fleet.enqueue(Job("Wake", "woken.nothing", queue="woken"))
    wait_until(lambda: probe(reaper, "/scale/woken").body.get("workers"), timeout=LONG, why="it asks for a worker")
    asked = time.monotonic() - begun
    worker = programs.worker("woken", app_dir=folder)
    wait_until(lambda: any(one.pid == worker.pid for one in fleet.workers()), timeout=LONG, why="it serves")
    serving = time.monotonic() - begun
    fleet.wait(job_id, timeout=LONG)
    ended = time.monotonic() - begun
    worker.send(signal.SIGTERM)
    worker.exit_code()
    return Wake(asked, serving, ended)


def shown(found: list[Wake]) -> str:
    """Median and range of each time."""
    lines = []
    for name in Wake._fields:
        values = [getattr(one, name) for one in found]
        lines.append(f"{name:8} {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})")
    return "\n".join(lines)
