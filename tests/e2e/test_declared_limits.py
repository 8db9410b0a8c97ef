"""Limits that functions declare, with worker processes: applied, overridden, removed, restored and refused."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from jobfleet.errors import EXIT_USAGE
from tests.support.fleet import APPS, LONG, History, Program, Programs, settle_all
from tests.support.revision import CONNECTS, unpack
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

CUSTOMERS = ("acme", "zeta", "beta")
MODULE = f"""\
import asyncio
import sys

sys.path.append({str(APPS)!r})
from histories import noted
from jobfleet import JobContext, job


@job(name="app.nap", queue="naps"{{options}})
async def nap(ctx: JobContext, customer: str) -> None:
    with noted(ctx):
        await asyncio.sleep(0.05)
"""
OTHER = """

@job(name="app.other", queue="naps", group="{customer}", concurrency=9)
def other(customer: str) -> None:
    pass
"""
EACH = ', group="{customer}"'


def start(programs: Programs, options: str, more: str = "", **settings: object) -> Program:
    """Start a worker with a function that declares what the options say."""
    (programs.folder / "declaring.py").write_text(MODULE.format(options=options) + more, encoding="utf-8")
    return programs.worker("declaring", **{"processes": 2, "app_dir": programs.folder, **settings})


def declared(fleet: Fleet) -> list[tuple[str | None, float | None, int | None]]:
    return [(row.group, row.concurrency, row.declared_concurrency) for row in fleet.limits()]


def await_declared(fleet: Fleet, *rows: tuple[str | None, float | None, int | None]) -> None:
    wait_until(lambda: declared(fleet) == list(rows), timeout=LONG, why=f"the limits are {rows}")


def await_published(fleet: Fleet, worker: Program) -> None:
    """Wait until producers that know only the name find the function."""
    wait_until(lambda: any(one.pid == worker.pid and one.kinds for one in fleet.workers()), timeout=LONG, why="ready")


def enqueue(fleet: Fleet, each: int = 12) -> dict[str, str]:
    """Enqueue jobs by the name of their function only; return the customer of each id."""
    return {fleet.enqueue(Job("nap", "app.nap", (customer,))): customer for _ in range(each) for customer in CUSTOMERS}


def peaks(history: History, customers: Mapping[str, str]) -> Counter[str]:
    """How many jobs of each customer, and of all, ran at once at most."""
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for entry in history.entries():
        for name in (customers[entry.id], "all"):
            running[name] += 1 if entry.event == "start" else -1
            most[name] = max(most[name], running[name])
    return most


def test_at_most_so_many_of_a_customer_run_at_once_while_others_go_on(programs: Programs, fleet: Fleet) -> None:
    worker = start(programs, f"{EACH}, concurrency=2")
    await_published(fleet, worker)
    await_declared(fleet, ("*", 2, 2))

    customers = enqueue(fleet)
    settle_all(fleet, customers)

    most = peaks(programs.history, customers)
    assert {name: most[name] for name in CUSTOMERS} == dict.fromkeys(CUSTOMERS, 2)
    assert most["all"] > 2


def test_a_limit_of_an_operator_wins_and_outlives_a_deployment_without_the_declared_one(
    programs: Programs, fleet: Fleet
) -> None:
    fleet.limits.set("naps", group="*", concurrency=3)
    first = start(programs, f"{EACH}, concurrency=2")
    await_published(fleet, first)
    await_declared(fleet, ("*", 3, 2))

    customers = enqueue(fleet)
    settle_all(fleet, customers)
    most = peaks(programs.history, customers)
    assert {name: most[name] for name in CUSTOMERS} == dict.fromkeys(CUSTOMERS, 3)

    first.send(signal.SIGTERM)
    assert first.exit_code() == 0
    start(programs, EACH)
    await_declared(fleet, ("*", 3, None))


def test_a_limit_that_a_deployment_removes_does_not_hold_any_more(programs: Programs, fleet: Fleet) -> None:
    first = start(programs, ", concurrency=2")
    await_declared(fleet, (None, 2, 2))
    first.send(signal.SIGTERM)
    assert first.exit_code() == 0

    start(programs, "")
    await_declared(fleet)


def test_a_worker_whose_functions_contradict_each_other_does_not_start(programs: Programs) -> None:
    worker = start(programs, f"{EACH}, concurrency=2", OTHER)

    assert worker.exit_code() == EXIT_USAGE
    assert (
        "app.nap declares 2 at once for each group of the queue 'naps', and app.other declares 9 at once; declare the "
        "same limit in both, or give one of them another group or queue."
    ) in worker.said


@pytest.fixture
def forgetful() -> Iterator[RedisServer]:
    """A server that a test may flush."""
    with RedisServer() as server:
        yield server


def test_a_running_worker_stores_its_limits_again_after_a_loss_of_data(forgetful: RedisServer, tmp_path: Path) -> None:
    programs = Programs(forgetful.url, tmp_path)
    with closing(programs), Fleet(forgetful.url, patience=60) as fleet:
        worker = start(programs, f"{EACH}, concurrency=2", beat=0.5, gone_after=2)
        await_published(fleet, worker)
        seen = {fleet.workers()[0].beat}
        wait_until(lambda: len(seen.union({fleet.workers()[0].beat})) > 1, timeout=LONG, why="it has beaten")
        await_declared(fleet, ("*", 2, 2))

        forgetful.client().flushall()

        worker.await_line("worker.forgotten")
        await_declared(fleet, ("*", 2, 2))


@CONNECTS
def test_a_worker_of_the_previous_revision_applies_a_declared_limit(
    redis_url: str, fleet: Fleet, programs: Programs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    worker = start(programs, f"{EACH}, concurrency=2")
    await_published(fleet, worker)
    await_declared(fleet, ("*", 2, 2))
    worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0

    folder = tmp_path_factory.mktemp("previous")
    previous = Programs(redis_url, folder, unpack(folder))
    try:
        customers = enqueue(fleet)
        (folder / "declaring.py").write_text(MODULE.format(options=""), encoding="utf-8")
        previous.worker("declaring", app_dir=folder)
        settle_all(fleet, customers)
    finally:
        previous.close()
        sys.stdout.write(previous.logs())

    most = peaks(previous.history, customers)
    assert {name: most[name] for name in CUSTOMERS} == dict.fromkeys(CUSTOMERS, 2)
