"""Measure the outbox on PostgreSQL: from commit to enqueue and start, and the cost beside a plain enqueue."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles

from sqlalchemy import Connection, Engine, create_engine, text

from jobfleet import Fleet
from jobfleet.contrib import outbox
from jobfleet.outbox.rows import open_engine
from tests.support.fleet import Programs
from tests.support.outbox.jobs import order
from tests.support.postgres import Postgres
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

WARM = 50
"""Commits before those that are measured."""
ROUNDS, EACH = 7, 300
"""Alternating rounds of the comparison, and enqueues per round and side."""
MODULE = order.__module__


def run(folder: Path, *, orders: int, rate: float) -> str:
    """Measure latency and cost; return them as text.

    Args:
        folder: For logs.
        orders: Commits whose latency is measured.
        rate: Commits per second.
    """
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres())
        redis = stack.enter_context(RedisServer())
        url = postgres.database()
        outbox.create_tables(url)
        engine = create_engine(open_engine(url).url)
        stack.callback(engine.dispose)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE orders (number INTEGER)"))
        fleet = stack.enter_context(Fleet(redis.url))
        cost = _cost(engine, fleet)
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM jobfleet_outbox"))
        programs = Programs(redis.url, folder)
        stack.callback(programs.close)
        programs.ready(MODULE, queues="latency", slots=20)
        programs.reaper(outbox_url=url)
        latency = _latency(engine, fleet, orders, rate)
    python = ".".join(map(str, sys.version_info[:3]))
    return "\n".join([f"Python {python}, {platform.machine()}; {rate:g} commits/s, {orders} commits", *latency, *cost])


def _latency(engine: Engine, fleet: Fleet, orders: int, rate: float) -> list[str]:
    began, ids = _committed(engine, fleet, orders, rate, "unserved")
    enqueued = [_after(began[job_id], fleet.poll(job_id).scheduled_at) for job_id in ids]
    began, ids = _committed(engine, fleet, orders, rate, "latency")
    started = [_after(began[job_id], fleet.wait(job_id, timeout=60).started_at) for job_id in ids]
    return [_spread("commit to enqueued", enqueued), _spread("commit to started", started)]


def _committed(
    engine: Engine, fleet: Fleet, orders: int, rate: float, queue: str
) -> tuple[dict[str, float], list[str]]:
    """Commit orders at a rate, and wait until they are enqueued; return when each commit began, and the ids."""
    began: dict[str, float] = {}
    due = time.monotonic()
    for number in range(WARM + orders):
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO orders VALUES (:number)"), {"number": number})
            job_id = outbox.enqueue(connection, order.options(queue=queue).job(number), fleet=fleet)
            began[job_id] = time.time()
            connection.commit()
    ids = list(began)[WARM:]
    wait_until(lambda: None not in fleet.poll_many(ids), timeout=60, why="all orders are enqueued")
    return began, ids


def _after(began: float, moment: datetime | None) -> float:
    assert moment is not None
    return moment.timestamp() - began


def _spread(what: str, seconds: list[float]) -> str:
    cuts = quantiles(seconds, n=100)
    return f"{what}: p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, most {max(seconds) * 1000:.1f} ms"


def _cost(engine: Engine, fleet: Fleet) -> list[str]:
    """The cost of an enqueue by the outbox, in a transaction that is there anyway, and of a plain one, alternately."""
    fleet.enqueue(order.options(queue="plain").job(0))
    ratios: dict[str, list[float]] = {"time": [], "CPU": []}
    seen: list[str] = []
    for _ in range(ROUNDS):
        plain = _timed(lambda number: fleet.enqueue(order.options(queue="plain").job(number)))
        with engine.connect() as connection:
            rows = _timed(partial(_write, connection, fleet))
            connection.commit()
        ratios["time"].append(rows[0] / plain[0])
        ratios["CPU"].append(rows[1] / plain[1])
        seen.append(f"{rows[0] / EACH * 1e6:.0f}/{plain[0] / EACH * 1e6:.0f}")
    return [
        *(
            f"outbox / plain enqueue, {what} of the producer: {median(of):.2f} (median of {ROUNDS})"
            for what, of in ratios.items()
        ),
        f"µs per enqueue, outbox/plain by round: {', '.join(seen)}",
    ]


def _write(connection: Connection, fleet: Fleet, number: int) -> None:
    outbox.enqueue(connection, order.options(queue="plain").job(number), fleet=fleet)


def _timed(act: Callable[[int], object]) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(EACH):
        act(number)
    return time.perf_counter() - began, time.process_time() - cpu
