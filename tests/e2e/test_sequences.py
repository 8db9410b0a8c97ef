"""Strict sequences under real workers, some of whose processes are killed: no two jobs overlap, and none overtakes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.e2e.test_groups import nothing_is_left, peaks
from tests.support.fleet import LONG, History, Program, Programs, settle_all
from tests.support.havoc import Havoc
from tests.support.proxy import Proxy
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

OPTIONS = {"order": "strict", "max_crashes": 1000, "retry_delay": 0.02}
FAULTS = ("child", "worker", "reply", "restart")


def orders(history: History, groups: Mapping[str, str]) -> dict[str, list[str]]:
    """The jobs of each sequence in the order of their starts; one that starts again follows itself."""
    entries = history.entries()
    killed: set[int] = set()
    found: dict[str, list[str]] = {group: [] for group in set(groups.values())}
    for entry in entries:
        if entry.event == "kill":
            killed.add(entry.pid)
        elif entry.event == "start" and entry.pid not in killed:
            found[groups[entry.id]].append(entry.id)
    return {group: [job_id for job_id, _ in groupby(jobs)] for group, jobs in found.items()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("each", "sequences", "faults", "seed"),
    [
        (30, 4, 4, 11),
        *(pytest.param(1_000, 10, 60, seed, marks=[pytest.mark.slow, pytest.mark.timeout(3000)]) for seed in range(3)),
    ],
)
def test_sequences_never_overlap_or_reorder_whatever_happens(
    tmp_path: Path, each: int, sequences: int, faults: int, seed: int
) -> None:
    names = [f"account-{number}" for number in range(sequences)]
    jobs = [
        Job("nap", "hist.twice" if number % 7 == 0 else "hist.nap", (0.005,), group=name, **OPTIONS)  # type: ignore[arg-type]
        for number in range(each)
        for name in names
    ]
    with RedisServer("--appendonly", "yes", "--appendfsync", "always", tcp=True) as server, Proxy(server) as proxy:
        programs = Programs(proxy.url, tmp_path, is_fresh=False)
        try:
            with Fleet(proxy.url, patience=60) as fleet:
                ids = [receipt.id for receipt in fleet.enqueue_many(jobs)]
                groups = {job_id: str(job.group) for job_id, job in zip(ids, jobs, strict=True)}
                havoc = _havoc(programs, proxy, server, seed)
                for number in range(1, faults + 1):
                    least = len(ids) * number // (faults + 2)
                    wait_until(
                        lambda least=least: len(programs.history.ended()) > least,  # type: ignore[misc]
                        timeout=2 * LONG,
                        why=f"{least} have run",
                    )
                    havoc.strike(*FAULTS)
                results = settle_all(fleet, groups, timeout=2 * LONG)
            nothing_is_left(server.client())
        finally:
            programs.close()
            sys.stdout.write(programs.logs())

    starts = sum(programs.history.starts().values())
    sys.stderr.write(f"seed {seed}: {len(ids)} jobs, {sequences} sequences, {starts} starts, {dict(havoc.done)}\n")
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    most = peaks(programs.history, groups)
    assert {name: most[name] for name in names} == dict.fromkeys(names, 1)
    assert orders(programs.history, groups) == {name: [one for one in ids if groups[one] == name] for name in names}


def _havoc(programs: Programs, proxy: Proxy, server: RedisServer, seed: int) -> Havoc:
    """Two workers of two processes, and their faults."""

    def mark(event: str, pid: int) -> None:
        if event == "kill":
            with programs.history.path.open("a") as file:
                file.write(f"kill - 0 {pid}\n")

    def start() -> Program:
        return programs.ready(processes=2, slots=5, lease=3, reap_interval=0.2, with_reaper=1)

    return Havoc(start, seed, mark, proxy=proxy, server=server)


def test_the_rest_fails_with_its_head_and_a_parked_sequence_continues_when_it_is_resumed(
    programs: Programs, fleet: Fleet
) -> None:
    def enter(function: str, *args: object, order: str) -> str:
        return fleet.enqueue(Job("x", function, args, group=order, order=order, max_retries=0))  # type: ignore[arg-type]

    parked, waits = (enter(one, order="strict-park") for one in ("hist.raise", "hist.nap"))
    first, *rest = [enter("hist.raise", order="strict-fail-rest") for _ in range(60)]
    programs.ready(slots=5, reap_interval=0.2)

    results = settle_all(fleet, [first, *rest])
    assert {results[one].error_class for one in rest} == {"sequence"}
    assert results[rest[-1]].error == f"it waited behind {first} in the sequence 'strict-fail-rest', which failed"
    assert fleet.wait(parked, timeout=LONG).status is JobStatus.FAILED
    assert fleet.groups.show("strict-park").state == "parked"
    assert fleet.groups.resume("strict-park", by="ann")
    assert fleet.wait(waits, timeout=LONG).status is JobStatus.FAILED  # it lacks its argument
    assert programs.history.starts()[waits] == 0
