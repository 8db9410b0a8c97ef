"""Rows with an archive: what following the journal into PostgreSQL costs, and what it keeps up with."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import create_engine, text

from bench.figure import Figure, Reading, Row, Target
from bench.functions import add
from bench.setting import Server, Setting, Trouble, fill, jobs
from jobfleet import Fleet
from jobfleet.archive import init_job_tables
from jobfleet.store.keys import Keyspace
from tests.support.postgres import Postgres
from tests.support.tools import NotInstalled

PACE = 5_000
PART = 250
EVENTS_A_JOB = 3


@contextmanager
def _database() -> Iterator[str]:
    """A PostgreSQL as it comes, with everything written to disk, and the archive's tables."""
    try:
        cluster = Postgres()
    except NotInstalled as reason:
        raise Trouble(str(reason)) from None
    with cluster:
        url = cluster.database()
        init_job_tables(url)
        yield url


def _archived(url: str) -> int:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT count(*) FROM jobfleet_jobs WHERE status = 'completed'"))
    engine.dispose()
    return int(found or 0)


def _completed(fleet: Fleet) -> int:
    return sum(queue.totals["completed"] for queue in fleet.queues())


def _behind(fleet: Fleet) -> int:
    queues = fleet.queues()
    if any(queue.dropped for queue in queues):
        raise Trouble("the journal has dropped events")
    return sum(queue.unread for queue in queues)


def _followed(server: Server, fleet: Fleet, url: str) -> subprocess.Popen[bytes]:
    """Start a reaper, and wait until the journal is written."""
    fill(fleet, jobs(1, add.name))
    reaper = server.reaper(f"--archive-url={url}")
    journal = Keyspace(fleet.config.namespace).lane("default", 0).journal
    server.wait(lambda: server.raw.exists(journal), "the reaper follows the journal")
    return reaper


def drain(setting: Setting) -> Mapping[str, Reading]:
    """Drain a queue without and with an archive; how fast the archive has it all."""
    count = setting.size(40_000, 6_000)
    with setting.server() as server, Fleet(server.url) as fleet:
        plain, plain_us = _drained(server, fleet, count)
    with setting.server() as server, Fleet(server.url) as fleet, _database() as url:
        reaper = _followed(server, fleet, url)
        began, cpu = time.monotonic(), server.worker_cpu(reaper)
        followed, followed_us = _drained(server, fleet, count)
        server.wait(lambda: _archived(url) > count, "the archive has all", limit=120.0)
        spent, ended = time.monotonic() - began, server.worker_cpu(reaper)
    reaper_us = {} if cpu is None or ended is None else {"archive_cpu": Reading((ended - cpu) / count * 1e6)}
    return {
        **reaper_us,
        "archive_drain": Reading(followed, plain),
        "archive_redis": Reading(followed_us, plain_us),
        "archive_all": Reading(count / spent),
    }


def _drained(server: Server, fleet: Fleet, count: int) -> tuple[float, float]:
    """Jobs a second from the first start to the last end; µs of Redis a job, enqueue included."""
    cpu = server.cpu()
    fill(fleet, jobs(count, add.name))
    ahead = _completed(fleet)
    worker = server.worker("-p", "1", "-c", "100")
    server.wait(lambda: _completed(fleet) >= ahead + count, "the lane has counted all", step=0.05)
    seen = server.drained(count)
    redis_us = (server.cpu() - cpu) / count * 1e6
    server.kill(worker)
    server.forget(worker)
    return (count - 1) / (seen.last - seen.first), redis_us


def steady(setting: Setting) -> Mapping[str, Reading]:
    """A producer at a steady pace, a worker, a reaper: the journal must not grow."""
    seconds = setting.size(30, 6)
    with setting.server() as server, Fleet(server.url) as fleet, _database() as url:
        _followed(server, fleet, url)
        server.worker("-p", "1", "-c", "100")
        server.wait_serving(fleet)
        sent = threading.Thread(target=_produce, args=(server.url, seconds))
        before, began = _archived(url), time.monotonic()
        sent.start()
        behind: list[tuple[float, int]] = []
        while sent.is_alive():
            behind.append((time.monotonic() - began, _behind(fleet)))
            time.sleep(0.1)  # between samples
        pace = PACE * seconds / (time.monotonic() - began)
        archived = _archived(url) - before
        server.wait(lambda: _archived(url) - before >= PACE * seconds, "the archive has all", limit=120.0)
    late = [events for at, events in behind if at > seconds / 2]
    return {
        "archive_pace": Reading(archived / seconds, pace),
        "archive_behind": Reading(max(late) / EVENTS_A_JOB / PACE),
    }


def _produce(url: str, seconds: int) -> None:
    with Fleet(url) as fleet:
        began = time.monotonic()
        for number in range(PACE * seconds // PART):
            fill(fleet, jobs(PART, add.name))
            left = began + (number + 1) * PART / PACE - time.monotonic()
            if left > 0:
                time.sleep(left)  # keeps the pace


ROWS = (
    Row(
        "archive",
        (
            Figure("archive_drain", "drain with an archive on PostgreSQL", "jobs/s", "the same without"),
            Figure("archive_redis", "Redis CPU a job with an archive", "µs", "the same without"),
            Figure("archive_cpu", "CPU a job of the reaper that archives", "µs"),
            Figure("archive_all", "a queue drained and all of it in PostgreSQL", "jobs/s"),
        ),
        drain,
    ),
    Row(
        "steady",
        (
            Figure(
                "archive_pace",
                "archived at a steady 5,000 jobs/s, PostgreSQL",
                "jobs/s",
                "the producer's pace",
                Target("≥", 0.95, "ratio"),
            ),
            Figure("archive_behind", "the most it was behind in the second half", "s", target=Target("≤", 2.0)),
        ),
        steady,
        rounds=1,
    ),
)
