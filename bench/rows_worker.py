"""Rows with real workers: drains, latency, what a dead child costs."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bench import floors
from bench.figure import Figure, Reading, Row, Target
from bench.setting import Server, Setting, Trouble, fill, free_port, jobs
from jobfleet import Fleet

BARE = "bare pop-and-finish loop"
REST = 1.0
"""Seconds a worker has been idle before a row of idle workers begins: its start still takes the CPU before."""


class Drained(NamedTuple):
    """Jobs a second from the first start to the last end; µs a job of Redis, enqueue included, and of the worker."""

    rate: float
    redis_us: float
    worker_us: float | None


def _drain(server: Server, count: int, slots: int, function: str, *flags: str) -> Drained:
    with Fleet(server.url) as fleet:
        before = server.cpu()
        fill(fleet, jobs(count, function))
        worker = server.worker("-p", "1", "-c", str(slots), *flags)
        server.wait(lambda: server.count().jobs > 0, "the first job has run", step=0.01)
        early, began = server.count().jobs, server.worker_cpu(worker)
        seen = server.drained(count)
        server.wait(lambda: _completed(fleet) == count, "the lane has counted all", step=0.05)
        ended, redis = server.worker_cpu(worker), server.cpu() - before
        server.kill(worker)
    left = count - early
    worker_us = (ended - began) / left * 1e6 if ended is not None and began is not None and left > count / 2 else None
    return Drained((count - 1) / (seen.last - seen.first), redis / count * 1e6, worker_us)


def _completed(fleet: Fleet) -> int:
    return sum(queue.totals["completed"] for queue in fleet.queues())


def _floor(server: Server, count: int) -> tuple[float, float]:
    """The same of bare commands."""
    before = server.cpu()
    floors.bare_enqueue(server.raw, count)
    rate = count / floors.bare_drain(server.raw)
    return rate, (server.cpu() - before) / count * 1e6


def drain(setting: Setting) -> Mapping[str, Reading]:
    count = setting.size(40_000, 6_000)
    with setting.server() as server:
        ours = _drain(server, count, 100, "bench.add")
    with setting.server() as server:
        floor_rate, floor_cpu = _floor(server, count)
    found = {"drain_100": Reading(ours.rate, floor_rate), "redis_cpu": Reading(ours.redis_us, floor_cpu)}
    return found if ours.worker_us is None else {**found, "worker_cpu": Reading(ours.worker_us)}


def drain_10(setting: Setting) -> Mapping[str, Reading]:
    count = setting.size(20_000, 3_000)
    with setting.server() as server:
        rate = _drain(server, count, 10, "bench.add").rate
    with setting.server() as server:
        return {"drain_10": Reading(rate, _floor(server, count)[0])}


def metrics(setting: Setting) -> Mapping[str, Reading]:
    count = setting.size(40_000, 6_000)
    with setting.server() as server:
        plain = _drain(server, count, 100, "bench.add")
    with setting.server() as server, scraped() as port:
        counted = _drain(server, count, 100, "bench.add", f"--metrics-port={port}")
    found = {"drain_metrics": Reading(counted.rate, plain.rate)}
    if counted.worker_us is None or plain.worker_us is None:
        return found
    return {**found, "worker_cpu_metrics": Reading(counted.worker_us, plain.worker_us)}


@contextlib.contextmanager
def scraped() -> Iterator[int]:
    """A port that is scraped every second, as soon as somebody serves there."""
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(1.0):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()

    port = free_port()
    scraper = threading.Thread(target=scrape)
    scraper.start()
    try:
        yield port
    finally:
        over.set()
        scraper.join()


def threads(setting: Setting) -> Mapping[str, Reading]:
    count = setting.size(20_000, 3_000)
    with setting.server() as server:
        rate = _drain(server, count, 100, "bench.add_thread").rate
    with setting.server() as server:
        return {"drain_threads": Reading(rate, _floor(server, count)[0])}


def sleeping(setting: Setting) -> Mapping[str, Reading]:
    count, slots, seconds = setting.size(5_000, 2_000), 200, 0.05
    with setting.server() as server, Fleet(server.url) as fleet:
        fill(fleet, jobs(count, "bench.sleep", (seconds,)))
        server.worker("-p", "1", "-c", str(slots))
        seen = server.drained(count)
    return {"sleep_200": Reading(count / (seen.last - seen.first), slots / seconds)}


def _waits(server: Server, count: int, function: str, *, apart: float, module: str = "bench.functions") -> list[float]:
    """Milliseconds from enqueue to the job's first line on an idle worker, in order."""
    with Fleet(server.url) as fleet:
        server.worker("-p", "1", "-c", "10", module=module)
        server.wait_serving(fleet)
        time.sleep(REST)  # the worker is to be idle, as the row says
        for index in range(count):
            fleet.enqueue(next(jobs(1, function, (index, time.monotonic_ns()))))
            time.sleep(apart)  # so that each job finds the worker idle again
        server.wait(lambda: len(server.stamps()) == count, "all jobs have started", step=0.05)
        return sorted((at - asked) / 1e6 for stamps in server.stamps().values() for asked, at in stamps)


def isolated(setting: Setting) -> Mapping[str, Reading]:
    module, count = "bench.functions_isolated", setting.size(500, 200)
    with setting.server() as server:
        warm = _waits(server, count, "bench.warm", apart=0.01, module=module)
    with setting.server() as server:
        cold = _waits(server, setting.size(20, 5), "bench.cold", apart=0.5, module=module)
        floor = floors.interpreter(server) * 1000
    many = setting.size(5_000, 1_000)
    with setting.server() as server, Fleet(server.url) as fleet:
        fill(fleet, jobs(many, "bench.nothing", ()))
        server.worker("-p", "1", "-c", "2", module=module)
        seen = server.drained(many)
    return {
        "isolated_warm": Reading(_share(warm, 0.50)),
        "isolated_cold": Reading(_share(cold, 0.50), floor),
        "isolated_drain": Reading((many - 1) / (seen.last - seen.first)),
    }


def latency(setting: Setting) -> Mapping[str, Reading]:
    count = setting.size(500, 200)
    with setting.server() as server:
        waits = _waits(server, count, "bench.latency", apart=0.01)
        bare = sorted(floors.hand_over(server, count))
    return {
        "latency_p50": Reading(_share(waits, 0.50), _share(bare, 0.50)),
        "latency_p99": Reading(_share(waits, 0.99), _share(bare, 0.99)),
    }


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def crash(setting: Setting) -> Mapping[str, Reading]:
    return {
        "crash_pair": _crash(setting, "2"),
        "crash_alone": _crash(setting, "1"),
    }


def _crash(setting: Setting, processes: str) -> Reading:
    """Seconds from SIGKILL of a child until its job runs again, in its sibling or in its successor."""
    with setting.server() as server, Fleet(server.url) as fleet:
        worker = server.worker("-p", processes, "-c", "10")
        server.wait_serving(fleet)
        time.sleep(REST)  # the start of the worker is not to be measured
        fill(fleet, jobs(1, "bench.hold", (0, 60.0)))
        server.wait(server.stamps, "the job has started")
        child = server.stamps()[0][0][0]
        if child == worker.pid:
            raise Trouble("the job ran in the supervisor")
        killed = time.monotonic_ns()
        os.kill(child, signal.SIGKILL)
        server.wait(lambda: len(server.stamps()[0]) == 2, "the job runs again", step=0.005)
        again = max(at for _, at in server.stamps()[0])
        return Reading((again - killed) / 1e9, floors.interpreter(server))


ROWS = (
    Row(
        "drain",
        (
            Figure("drain_100", "drain, one child, 100 slots, async no-op", "jobs/s", BARE, Target("≥", 30_000)),
            Figure("redis_cpu", "Redis CPU a job, enqueue + drain", "µs", "the same of that loop", Target("≤", 18)),
            Figure("worker_cpu", "worker CPU a job, supervisor included", "µs"),
        ),
        drain,
    ),
    Row(
        "drain10",
        (Figure("drain_10", "drain, one child, 10 slots", "jobs/s", BARE, Target("≥", 0.55, "ratio")),),
        drain_10,
    ),
    Row(
        "metrics",
        (
            Figure(
                "drain_metrics",
                "drain, metrics on and scraped",
                "jobs/s",
                "the same with metrics off",
                Target("≥", 0.95, "ratio"),
            ),
            Figure("worker_cpu_metrics", "worker CPU a job, metrics on", "µs", "the same with metrics off"),
        ),
        metrics,
    ),
    Row(
        "threads",
        (Figure("drain_threads", "drain, one child, `def` jobs in threads", "jobs/s", BARE, Target("≥", 15_000)),),
        threads,
    ),
    Row(
        "sleep",
        (Figure("sleep_200", "50 ms jobs, 200 slots", "jobs/s", "the limit", Target("≥", 0.90, "ratio")),),
        sleeping,
    ),
    Row(
        "latency",
        (
            Figure("latency_p50", "idle pick-up, p50", "ms", "ZADD to BZPOPMIN", Target("≤", 1)),
            Figure("latency_p99", "idle pick-up, p99", "ms", "ZADD to BZPOPMIN", Target("≤", 5)),
        ),
        latency,
    ),
    Row(
        "isolated",
        (
            Figure("isolated_warm", "pick-up in a warm process of its own, p50", "ms"),
            Figure("isolated_cold", "the same in a fresh process, p50", "ms", "a Python's start"),
            Figure("isolated_drain", "drain, one child, 2 slots, jobs in processes", "jobs/s"),
        ),
        isolated,
    ),
    Row(
        "crash",
        (
            Figure("crash_pair", "a child of two killed: its job runs again", "s", "a Python's start", Target("≤", 1)),
            Figure("crash_alone", "the only child killed: its job runs again", "s", "a Python's start", Target("≤", 1)),
        ),
        crash,
    ),
)
