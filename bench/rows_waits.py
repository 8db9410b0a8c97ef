"""Many waits in one process: its connections, and how soon each wait returns after the end of its job."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from typing import Any

from bench.figure import Figure, Reading, Row, Target
from bench.finisher import FUNCTION
from bench.setting import ROOT, Server, Setting, Trouble
from jobfleet import AsyncFleet, Fleet, Job, JobResult

WAITS = 2000
THREADS = 500
SINGLY = 200
"""Jobs that end one at a time, `SPACING` seconds apart."""
SPACING = 0.02


def waits(setting: Setting) -> Mapping[str, Reading]:
    """One wait at a time, then many; in coroutines, then in threads."""
    warnings.filterwarnings("ignore", message="No live worker")
    few = setting.size(SINGLY, 40)
    with setting.server() as server:
        one = asyncio.run(_awaited(server, few, is_together=False))
    with setting.server() as server:
        many = asyncio.run(_awaited(server, setting.size(WAITS), is_together=True))
    with setting.server() as server:
        one_thread = _threaded(server, few, is_together=False)
    with setting.server() as server:
        threads = _threaded(server, setting.size(THREADS), is_together=True)
    return {
        "waits_connections": Reading(many.connections),
        "waits_wake": Reading(many.p50, one.p50),
        "waits_wake_p99": Reading(many.p99, one.p99),
        "waits_all": Reading(many.rest_s),
        "waits_threads_connections": Reading(threads.connections),
        "waits_threads_wake": Reading(threads.p50, one_thread.p50),
    }


class Wakes:
    """When waits returned.

    Attributes:
        connections: The most connections of this process that the server saw.
        p50: Median time from the end of a job to the return of its wait, ms, of the jobs that ended singly.
        p99: The same, 99th percentile.
        rest_s: Seconds from the first end to the last return of the jobs that ended together.
    """

    def __init__(self, connections: int, singly: list[float], ended: list[float], returned: list[float]) -> None:
        self.connections = connections
        ordered = sorted(singly)
        self.p50 = statistics.median(ordered)
        self.p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
        self.rest_s = max(returned) - min(ended)


def _wakes(results: list[tuple[JobResult[Any], float]], connections: int, few: int) -> Wakes:
    rows = sorted((result.completed_at.timestamp(), at) for result, at in results if result.completed_at)
    singly, rest = rows[:few], rows[few:] or rows
    late = [1000 * (at - ended) for ended, at in singly]
    return Wakes(connections, late, [ended for ended, _ in rest], [at for _, at in rest])


async def _awaited(server: Server, count: int, *, is_together: bool) -> Wakes:
    few = _ended_singly(count, is_together=is_together)
    async with AsyncFleet(server.url) as fleet:
        ids = [receipt.id async for receipt in fleet.enqueue_many(Job("job", FUNCTION) for _ in range(count))]

        async def one(job_id: str) -> tuple[JobResult[Any], float]:
            result = await fleet.wait(job_id, timeout=60)
            return result, time.time()

        if is_together:
            tasks = [asyncio.create_task(one(job_id)) for job_id in ids]
            connections = await _settled(server)
            finisher = _finisher(server, few)
            results = await asyncio.gather(*tasks)
        else:
            finisher = _finisher(server, few)
            results = [await one(job_id) for job_id in ids]
            connections = _connections(server)
        finisher.wait()
        return _wakes(results, connections, few)


def _threaded(server: Server, count: int, *, is_together: bool) -> Wakes:
    few = _ended_singly(count, is_together=is_together)
    with Fleet(server.url) as fleet:
        ids = [receipt.id for receipt in fleet.enqueue_many(Job("job", FUNCTION) for _ in range(count))]
        results: list[tuple[JobResult[Any], float]] = []

        def one(job_id: str) -> None:
            result = fleet.wait(job_id, timeout=60)
            results.append((result, time.time()))

        if is_together:
            threads = [threading.Thread(target=one, args=(job_id,)) for job_id in ids]
            for thread in threads:
                thread.start()
            connections = asyncio.run(_settled(server))
            finisher = _finisher(server, few)
            for thread in threads:
                thread.join()
        else:
            finisher = _finisher(server, few)
            for job_id in ids:
                one(job_id)
            connections = _connections(server)
        finisher.wait()
        return _wakes(results, connections, few)


def _ended_singly(count: int, *, is_together: bool) -> int:
    """How many of the jobs end one at a time: all, if each wait follows the one before."""
    return min(SINGLY, count // 2) if is_together else count


async def _settled(server: Server) -> int:
    """Wait until the number of connections does not change any more; return the most there were."""
    most, seen, until = 0, -1, time.monotonic() + 60
    while time.monotonic() < until:
        await asyncio.sleep(1.0)
        now = _connections(server)
        most = max(most, now)
        if now == seen:
            return most
        seen = now
    raise Trouble("the number of connections changes for a minute")


def _connections(server: Server) -> int:
    """The connections to the server, without the one that asks."""
    return int(server.raw.info("clients")["connected_clients"]) - 1


def _finisher(server: Server, singly: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.finisher", server.url, str(singly), str(SPACING)]
    return subprocess.Popen(command, cwd=ROOT)


ROWS = (
    Row(
        "waits",
        (
            Figure("waits_connections", "2,000 waits in one process: connections", "", target=Target("≤", 40)),
            Figure("waits_wake", "a job's end to its wait's return, 2,000 waits, p50", "ms", "one wait"),
            Figure("waits_wake_p99", "the same, p99", "ms", "one wait"),
            Figure("waits_all", "1,800 that end together: first end to last return", "s"),
            Figure("waits_threads_connections", "500 waits in threads: connections", "", target=Target("≤", 40)),
            Figure("waits_threads_wake", "a job's end to its wait's return, 500 threads, p50", "ms", "one wait"),
        ),
        waits,
    ),
)
