"""Sleepers, signals and undo steps under faults: each job continues once per signal, and undoes in order."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobNotFound, JobStatus
from jobfleet.model.option_types import Durability
from tests.e2e.apps.walkers import NAP
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.havoc import Havoc
from tests.support.proxy import Proxy
from tests.support.sentinel import SentinelServers
from tests.support.server import RedisServer
from tests.support.waiting import wait_until
from tests.support.walks import judge, read

WALKS = ("walk.loop", "walk.cell", "walk.thread")
KILLS = ("child", "cell", "worker")


@contextmanager
def havoc(folder: Path, faults: tuple[str, ...], seed: int) -> Iterator[tuple[Fleet, Programs, Havoc]]:
    """A fleet on a server that the faults need: behind a proxy, or Sentinels."""
    with ExitStack() as stack:
        group = server = proxy = None
        if "failover" in faults:
            group = stack.enter_context(SentinelServers("--appendonly", "yes")).await_whole()
            url = group.url
        else:
            server = stack.enter_context(RedisServer("--appendonly", "yes", "--appendfsync", "always", tcp=True))
            proxy = stack.enter_context(Proxy(server))
            url = proxy.url
        programs = Programs(url, folder, is_fresh=False)
        stack.callback(lambda: sys.stdout.write(programs.logs()))
        stack.callback(programs.close)

        def mark(event: str, pid: int) -> None:
            with (folder / "walks").open("a") as file:
                file.write(f"{event} - 0 {pid} 0 {time.time_ns() // 1000}\n")

        def start() -> object:
            return programs.ready("walkers", lease=6 if group else 3, processes=2, with_reaper=1, reap_interval=0.2)

        fleet = stack.enter_context(Fleet(url, patience=60))
        yield fleet, programs, Havoc(start, seed, mark, proxy=proxy, server=server, group=group)  # type: ignore[arg-type]


def signal_all(
    fleet: Fleet, havoc: Havoc, waiters: list[str], rounds: int, faults: tuple[str, ...], count: int
) -> None:
    """Send each signal twice, in any order, with faults in between. Only the first of each may count."""
    signals = [(job_id, number) for job_id in waiters for number in range(rounds)]
    havoc.dice.shuffle(signals)
    every = max(1, len(signals) // count)
    for place, (job_id, number) in enumerate(signals):
        assert fleet.signal(job_id, f"go {number}", number)
        assert not fleet.signal(job_id, f"go {number}", -1)
        if place % every == 0:
            havoc.strike(*faults)
            repeat(fleet, signals[: place + 1] if "failover" in faults else [])


def repeat(fleet: Fleet, signals: list[tuple[str, int]]) -> None:
    """Send signals again: a failover may lose the last ones, and a repetition is harmless."""
    for job_id, number in signals:
        with suppress(JobNotFound):
            fleet.signal(job_id, f"go {number}", number)


def repeat_until_all_have_ended(fleet: Fleet, waiters: list[str], rounds: int) -> None:
    """Send the signals of open jobs again and again: a busy machine may cause one more failover."""

    def are_over() -> bool:
        found = [job_id for job_id in waiters if not fleet.poll(job_id).status.is_final]
        repeat(fleet, [(job_id, number) for job_id in found for number in range(rounds)])
        return not found

    wait_until(are_over, timeout=2 * LONG, why="all that wait for signals have ended")


def collapsed(lines: list[str]) -> list[str]:
    """The lines, where a step that was killed before its result was stored has run again."""
    return [line for line, _ in groupby(lines)]


def check(folder: Path, *, jobs: int, rounds: int, faults: tuple[str, ...], count: int, seed: int) -> None:
    level: Durability = "replicated" if "failover" in faults else "fast"  # what no replica has is lost with its primary
    with havoc(folder, faults, seed) as (fleet, _, breaks):
        walks = [
            receipt.id
            for receipt in fleet.enqueue_many(
                Job("walk", WALKS[n % 3], (rounds,), queue="default", durability=level) for n in range(jobs)
            )
        ]
        trips: dict[str, int] = {
            fleet.enqueue(Job("trip", "walk.trip", (f"trip-{n}", n % 2 == 0), durability=level)): n
            for n in range(jobs // 3)
        }

        signal_all(fleet, breaks, walks, rounds, faults, count)
        if "failover" in faults:
            repeat_until_all_have_ended(fleet, walks, rounds)
        results = settle_all(fleet, walks, timeout=2 * LONG)
        undone = await_trips(fleet, folder, trips)
        sentinels = breaks.group.sentinels if breaks.group else []
        failovers = [at for sentinel in sentinels for at in sentinel.failovers()]

    assert {one.status for one in results.values()} == {JobStatus.COMPLETED}
    assert [results[job_id].result for job_id in walks] == [list(range(rounds))] * jobs
    nap_us = round(NAP * 1_000_000)
    verdict = judge(read(folder / "walks"), walks, rounds=rounds, nap_us=nap_us, failovers=failovers)
    sys.stderr.write(
        f"{faults} seed {seed}: {jobs} jobs, {verdict.continued} continuations in {verdict.runs} runs, "
        f"{verdict.excused} disturbed, {dict(breaks.done)}, {len(trips)} trips\n"
    )
    assert verdict.faults == []
    in_order = [*(f"do {thing}" for thing in "abcd"), *(f"undo {thing}" for thing in "dcba")]
    assert {name: lines for name, lines in undone.items() if lines != in_order} == {}


def await_trips(fleet: Fleet, folder: Path, trips: dict[str, int]) -> dict[str, list[str]]:
    """Cancel the trips that wait; wait until all are undone; return what each has written."""
    for job_id, number in trips.items():
        if number % 2:
            wait_until(lambda job_id=job_id: waits(fleet, job_id), timeout=LONG, why=f"{job_id} waits")  # type: ignore[misc]
            fleet.cancel(job_id)
    ends = settle_all(fleet, trips)
    assert {ends[job_id].status for job_id, number in trips.items() if number % 2} <= {JobStatus.CANCELLED}
    assert {ends[job_id].status for job_id, number in trips.items() if not number % 2} == {JobStatus.FAILED}

    def lines(number: int) -> list[str]:
        return collapsed((folder / f"trip-{number}").read_text().splitlines())

    wait_until(
        lambda: all(lines(number)[-1] == "undo a" for number in trips.values()), timeout=LONG, why="all are undone"
    )
    return {f"trip-{number}": lines(number) for number in trips.values()}


def waits(fleet: Fleet, job_id: str) -> bool:
    return any("never" in reason.text for reason in fleet.explain(job_id).reasons)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBFLEET_TEST_FOLDER", str(tmp_path))


def test_each_job_continues_once_per_signal_under_kills_and_lost_replies(tmp_path: Path) -> None:
    check(tmp_path, jobs=9, rounds=2, faults=("child", "cell", "reply"), count=4, seed=7)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("faults", "count"),
    [(KILLS, 40), (("reply",), 300), (("restart",), 20), (("failover",), 6), ((*KILLS, "reply", "restart"), 60)],
    ids=["kills", "replies", "restarts", "failovers", "all"],
)
def test_many_jobs_continue_once_per_signal(tmp_path: Path, faults: tuple[str, ...], count: int, seed: int) -> None:
    check(tmp_path, jobs=150, rounds=4, faults=faults, count=count, seed=seed)
