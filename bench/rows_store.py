"""Rows without workers: producers, memory, many jobs waiting, many children idle."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from itertools import count as numbers
from typing import Any

import redis.asyncio

from bench import floors
from bench.figure import Figure, Reading, Row, Target
from bench.functions import add
from bench.setting import Server, Setting, fill, jobs
from jobfleet import AsyncFleet, Fleet, Job
from jobfleet.operations.operation import batches
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.calls.lease import claim
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.sync import Store
from jobfleet.store.target import target

PART = 250


def enqueue(setting: Setting) -> Mapping[str, Reading]:
    """One at a time; ours and the bare loop take turns, so that both meet the same machine."""
    turns = setting.size(16, 4)
    with setting.server() as server:
        with Fleet(server.url) as fleet:
            fill(fleet, jobs(1, add.name))
            ours, bare = 0.0, 0.0
            for _ in range(turns):
                began = time.perf_counter()
                for job in jobs(PART, add.name):
                    fleet.enqueue(job)
                ours += time.perf_counter() - began
                bare += floors.loop_of_sets(server.raw, PART)
        aio = asyncio.run(_enqueue_async(server.url, turns))
    return {"enqueue_sync": Reading(turns * PART / ours, turns * PART / bare), "enqueue_async": aio}


async def _enqueue_async(url: str, turns: int) -> Reading:
    ours, bare = 0.0, 0.0
    client = redis.asyncio.Redis.from_url(url, protocol=2)
    async with AsyncFleet(url) as fleet:
        await fleet.enqueue(next(jobs(1, add.name)))
        await client.ping()
        for _ in range(turns):
            began = time.perf_counter()
            for job in jobs(PART, add.name):
                await fleet.enqueue(job)
            ours += time.perf_counter() - began
            bare += await floors.loop_of_async_sets(client, PART)
    await client.aclose()
    return Reading(turns * PART / ours, turns * PART / bare)


def bulk(setting: Setting) -> Mapping[str, Reading]:
    count = setting.size(50_000)
    with setting.server() as server, Fleet(server.url) as fleet:
        fill(fleet, jobs(1, add.name))
        began = time.perf_counter()
        fill(fleet, jobs(count, add.name))
        ours = time.perf_counter() - began
        return {"enqueue_bulk": Reading(count / ours, count / floors.pipelined_sets(server.raw, count))}


def memory(setting: Setting) -> Mapping[str, Reading]:
    count = setting.size(50_000)
    with setting.server() as server, Fleet(server.url) as fleet:
        fill(fleet, jobs(100, add.name))
        before = server.memory()
        fill(fleet, jobs(count, add.name))
        ours = server.memory() - before
        server.raw.flushall()
        before = server.memory()
        floors.bare_enqueue(server.raw, count)
        return {"memory": Reading(ours / count, (server.memory() - before) / count)}


def waiting(setting: Setting) -> Mapping[str, Reading]:
    """Claims, and what operators ask, with 100 jobs waiting and with 100,000, a tenth of them due later."""
    many = setting.size(100_000)
    with setting.server() as server, Fleet(server.url) as fleet:
        small, large = _claims_us(server, fleet, 100, many)
        job_id = fleet.enqueue(next(jobs(1, add.name)))
        asked: dict[str, Callable[[], object]] = {
            "status": lambda: fleet.poll(job_id),
            "jobs": lambda: fleet.jobs(limit=50),
            "queues": fleet.queues,
        }
        reads = {f"read_{name}": Reading(_milliseconds(ask)) for name, ask in asked.items()}
    return {"claim_100k": Reading(large, small), **reads}


def _claims_us(server: Server, fleet: Fleet, *counts: int) -> list[float]:
    """The median times of a claim, in µs, in queues where so many wait, a tenth of them due later; by turns."""
    store, keys, lanes = Store(target(server.url)), Keyspace(fleet.config.namespace), []
    for count in counts:
        queue, later = f"waiting{count}", count // 10
        fill(fleet, (Job("bench", add.name, (10, 20), queue=queue) for _ in range(count - later)))
        fill(fleet, (Job("bench", add.name, (10, 20), queue=queue, delay=timedelta(days=1)) for _ in range(later)))
        lanes.append(keys.lane(queue, 0))
    spent: list[list[float]] = [[] for _ in counts]
    for nonce in range(1, 81):
        for lane, times in zip(lanes, spent, strict=True):
            call = claim(lane, child="bench", nonce=nonce, lease_us=30_000_000, limit=1)
            began = time.perf_counter()
            store.run(call)
            times.append(time.perf_counter() - began)
    store.close()
    return [statistics.median(times[10:]) * 1e6 for times in spent]


def _milliseconds(ask: Callable[[], object]) -> float:
    spent = []
    for _ in range(11):
        began = time.perf_counter()
        ask()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent) * 1000


def idle(setting: Setting) -> Mapping[str, Reading]:
    """Connections that do what an idle child does: block on the markers of its lanes, 30 s at a time."""
    children, seconds = setting.size(1000, 200), setting.size(31, 8)
    return {
        f"idle_{lanes}": asyncio.run(_idle(setting, lanes, children, seconds))
        for lanes in (1, 4)
    }  # fmt: skip


async def _idle(setting: Setting, lanes: int, children: int, seconds: float) -> Reading:
    with setting.server() as server:
        at, keys = target(server.url), Keyspace("jobfleet")
        stores = [AsyncStore(at) for _ in range(children)]
        for index in range(lanes):
            await stores[0].run(open_queue(keys, f"idle{index}", 1))
        for at_once in batches(stores, 50):  # connects; the floor is what these cost when they only stand there
            await asyncio.gather(*(store.wait_wake([keys.lane("connect", 0)], 0.01) for store in at_once))
        floor = await _share(server, asyncio.sleep, seconds / 2)
        served = [keys.lane(f"idle{index}", 0) for index in range(lanes)]
        tasks = [asyncio.create_task(_block(store, served)) for store in stores]
        await asyncio.sleep(1.0)
        value = await _share(server, asyncio.sleep, seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for store in stores:
            await store.close()
    return Reading(value, floor)


async def _share(server: Server, sleep: Callable[[float], Awaitable[Any]], seconds: float) -> float:
    """Per cent of a core the server uses meanwhile."""
    before, began = server.cpu(), time.perf_counter()
    await sleep(seconds)
    return (server.cpu() - before) / (time.perf_counter() - began) * 100


async def _block(store: AsyncStore, lanes: list[Lane]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        for _ in numbers():
            await store.wait_wake(lanes, 30.0)


def _reads() -> Iterator[Figure]:
    for name in ("status", "jobs", "queues"):
        yield Figure(f"read_{name}", f"`{name}` with 100,000 jobs waiting", "ms", "", Target("≤", 50))


ROWS = (
    Row(
        "enqueue",
        (
            Figure("enqueue_sync", "enqueue one at a time", "jobs/s", "bare SET loop", Target("≥", 0.85, "ratio")),
            Figure("enqueue_async", "the same, asyncio", "jobs/s", "bare SET loop", Target("≥", 0.85, "ratio")),
        ),
        enqueue,
    ),
    Row(
        "bulk",
        (Figure("enqueue_bulk", "enqueue in bulk", "jobs/s", "pipelined SETs", Target("≥", 60_000)),),
        bulk,
    ),
    Row(
        "memory",
        (Figure("memory", "Redis memory a waiting add(10, 20)", "B", "a SET and a ZADD", Target("≤", 340)),),
        memory,
    ),
    Row(
        "waiting",
        (
            Figure("claim_100k", "a claim with 100,000 waiting", "µs", "with 100", Target("≤", 1.25, "ratio")),
            *_reads(),
        ),
        waiting,
    ),
    Row(
        "idle",
        (
            Figure("idle_1", "1,000 idle children, one lane", "% of a core", "connections alone", Target("≤", 1)),
            Figure("idle_4", "1,000 idle children, four lanes", "% of a core", "connections alone", Target("≤", 1)),
        ),
        idle,
        rounds=1,
    ),
)
