"""A fleet with very many jobs, dead letters and sampled series, made with the calls of the product."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bench.setting import Server, Trouble, fill
from jobfleet import AsyncFleet, Fleet, Flow, Job
from jobfleet.metrics.tally import Mute
from jobfleet.samples import COMPLETED, FINE, RUN, SECOND_US, STARTED, WAIT
from jobfleet.services.duties.samples import Samples
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.presence import report_runs
from jobfleet.store.target import target
from jobfleet.worker.supervisor.heartbeat import RunTotals

MODULE = "bench.dashboard.functions"
QUEUES = ("orders", "mail", "reports")
FAILED = ("charges", "invoices", "payouts", "syncs")
"""Several, because a lane keeps 100,000 dead letters by default."""
USERS, TAGS = 200, 20
FLOWS, PARTS, ENTRIES = 25, 600, 200
STEPS = 6
"""Steps of ten seconds that are sampled."""
LONG = 1800.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is.

    Attributes:
        jobs: Waiting jobs.
        dead: Dead letters.
        workers: Workers that report what they have run.
        functions: Functions of each of these workers; no two workers have one in common.
    """

    jobs: int
    dead: int
    workers: int
    functions: int


def failing(count: int) -> Iterator[Job]:
    """Jobs that end as dead letters, with some dozens of different errors."""
    dice = random.Random(1)
    for number in range(count):
        yield Job(
            f"charge {number}", "bench.fail", (dice.randrange(40),), queue=FAILED[number % 4], max_retries=0,
            user=f"user{number % USERS}", tags=[f"tag{number % TAGS}"],
        )  # fmt: skip


def waiting(count: int) -> Iterator[Job]:
    """Jobs that nobody takes, in three queues, some of them due later."""
    for number in range(count):
        yield Job(
            f"job {number}", "bench.wait", (number,), queue=QUEUES[number % 3], user=f"user{number % USERS}",
            tags=[f"tag{number % TAGS}"], delay=86_400 if number % 10 == 0 else None,
        )  # fmt: skip


def fill_fleet(server: Server, size: Size) -> None:
    """Make the jobs and the dead letters; a worker and a reaper run meanwhile."""
    with Fleet(server.url) as fleet:
        fill(fleet, failing(size.dead))
        worker = server.worker(f"--queues={','.join(FAILED)}", "--slots=100", module=MODULE)
        reaper = server.reaper()
        server.wait(lambda: fleet.statistics()["dead_letters"] >= size.dead, "all have failed", step=1.0, limit=LONG)
        server.wait(partial(_are_filed, fleet, size.dead), "the dead letters are in their groups", step=1.0, limit=LONG)
        for process in (worker, reaper):
            server.kill(process)
            server.forget(process)
        fill(fleet, waiting(size.jobs))
        plan(fleet, size)


def plan(fleet: Fleet, size: Size) -> None:
    """Make a page of flows, each with more jobs than a page reads, recurring jobs, and a rescue."""
    for number in range(min(FLOWS, size.jobs)):
        flow = Flow(f"flow {number}")
        first = flow.add(Job("begin", "bench.wait", (0,), queue="reports", delay=86_400))
        parts = flow.map(
            lambda at: Job(f"part {at % 7}", "bench.wait", (at,), queue="reports"), range(min(PARTS, size.jobs)),
            after=first,
        )  # fmt: skip
        flow.add(Job("end", "bench.wait", (1,), queue="reports"), after=parts)
        fleet.flows.enqueue(flow)
    for number in range(min(ENTRIES, size.jobs)):
        fleet.cron.add(f"entry-{number:03}", "30 2 * * *", Job("entry", "bench.wait", (2,)), tz="Europe/Berlin")
    fleet.rescue(next(group.fingerprint for group in fleet.dead_groups() if group.count))


def _are_filed(fleet: Fleet, count: int) -> bool:
    return sum(group.count for group in fleet.dead_groups(limit=1000)) >= count


async def sample(url: str, size: Size) -> None:
    """Sample steps in which each worker has run each of its functions."""
    series = size.workers * size.functions
    store = AsyncStore(target(url))
    async with AsyncFleet(url) as fleet:
        duty = Samples(store, fleet.context.keys, fleet.config, Mute(), process="bench", most=2 * series)
        begin = (int(time.time()) // FINE.step - STEPS - 1) * FINE.step * SECOND_US
        totals = [RunTotals() for _ in range(size.workers)]
        firsts = [0] * size.workers
        for step in range(STEPS + 1):
            for number, one in enumerate(totals):
                point = {COMPLETED: 9, STARTED: 9, WAIT: {10: 5, 12: 4}, RUN: {20: 9}}
                one.add([("mail", f"app.work_{number}_{at}", point) for at in range(size.functions)])
                report = one.news(firsts[number])
                if report is None:
                    raise Trouble("a worker has nothing to report")
                now = await store.run(report_runs(fleet.context.keys, f"w{number}", report))
                firsts[number] = firsts[number] or now
            await duty.tick(begin + (step * FINE.step) * SECOND_US + 300_000)
        await duty.stop()
    await store.close()
