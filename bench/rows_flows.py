"""Rows of jobs that wait for others, and of recurring ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import redis.asyncio

from bench import floors
from bench.figure import Figure, Reading, Row, Target
from bench.setting import Server, Setting, Trouble, fill, jobs
from jobfleet import AsyncFleet, Cron, Fleet, Flow, Job
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.cron import Cron as CronDuty
from jobfleet.store.aio import AsyncStore
from jobfleet.store.target import target

PLAIN = "as many plain jobs"
SECOND_US = 1_000_000
SECONDS = 8
"""Not looked at for so long, fires still count as on time."""


def wide(count: int) -> Flow:
    """One job, so many that wait for it, and one that waits for them all."""
    flow = Flow("wide")
    top = flow.add(Job("bench", "bench.add", (10, 20)))
    parts = flow.group(*jobs(count, "bench.add"), after=top)
    flow.add(Job("bench", "bench.add", (10, 20)), after=parts)
    return flow


def _run(server: Server, count: int) -> float:
    """Jobs a second, from the first one's start to the last one's end."""
    server.worker("-p", "1", "-c", "100")
    seen = server.drained(count)
    return (count - 1) / (seen.last - seen.first)


def flows(setting: Setting) -> Mapping[str, Reading]:
    count, links = setting.size(10_000, 1_000), setting.size(1_000, 100)
    with setting.server() as server, Fleet(server.url) as fleet:
        made = wide(count)
        began = time.perf_counter()
        fleet.flows.enqueue(made)
        put = (count + 2) / (time.perf_counter() - began)
        ran = _run(server, count + 2)
    with setting.server() as server, Fleet(server.url) as fleet:
        began = time.perf_counter()
        fill(fleet, jobs(count + 2, "bench.add"))
        plain_put = (count + 2) / (time.perf_counter() - began)
        plain_ran = _run(server, count + 2)
    with setting.server() as server, Fleet(server.url) as fleet:
        chain = Flow("chain")
        chain.chain(*jobs(links, "bench.add"))
        fleet.flows.enqueue(chain)
        rate = _run(server, links)
    return {
        "flow_enqueue": Reading(put, plain_put),
        "flow_wide": Reading(ran, plain_ran),
        "flow_chain": Reading(rate),
    }


def cron(setting: Setting) -> Mapping[str, Reading]:
    with setting.server() as server:
        return {"cron_fires": asyncio.run(_fires(server, entries=setting.size(200, 40)))}


async def _fires(server: Server, *, entries: int) -> Reading:
    """One reaper meets so many entries a second, at which nobody has looked for some seconds."""
    ahead = 0
    store = AsyncStore(target(server.url))
    duty = CronDuty(store, JobConfig(url=server.url), Tally(), clock=lambda now: now + ahead)
    async with AsyncFleet(server.url) as fleet:
        for number in range(entries):
            times = Cron("* * * * * *", misfire="all")
            await fleet.cron.add(f"every-second-{number}", times, Job("bench", "bench.add", (10, 20)))
        await duty.turn()
        before = sum(queue.queued + queue.scheduled for queue in await fleet.queues())
        ahead = SECONDS * SECOND_US
        began = time.perf_counter()
        await duty.turn()
        took = time.perf_counter() - began
        fired = sum(queue.queued + queue.scheduled for queue in await fleet.queues()) - before
    await store.close()
    if fired < entries * SECONDS // 2:
        raise Trouble(f"{fired:,} fires of {entries} entries in {SECONDS} s")
    async with redis.asyncio.Redis.from_url(server.url, protocol=2) as client:
        floor = fired / await floors.loop_of_async_sets(client, fired)
    return Reading(fired / took, floor)


ROWS = (
    Row(
        "flows",
        (
            Figure("flow_wide", "a flow of 10,000 side by side and one for all, run", "jobs/s", PLAIN),
            Figure("flow_enqueue", "the same, enqueued", "jobs/s", PLAIN),
            Figure("flow_chain", "a flow of 1,000 one after the other", "jobs/s"),
        ),
        flows,
    ),
    Row(
        "cron",
        (
            Figure(
                "cron_fires",
                "fires of recurring jobs, one reaper",
                "fires/s",
                "bare SET loop",
                Target("≥", 0.5, "ratio"),
            ),
        ),
        cron,
    ),
)
