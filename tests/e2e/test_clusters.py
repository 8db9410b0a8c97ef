"""Fleets on a real cluster: lanes on several nodes, slots that move, a primary that dies. No job is lost."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Self

import pytest

from jobfleet import AsyncFleet, DurabilityUnavailable, DurabilityUncertain, Fleet, Job, JobResult, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.cluster import ClusterServers, Node, moved_back
from tests.support.fleet import LONG, Program, Programs, settle_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # a test waits several minutes at most, on a machine that may be busy
LANES = 6
KEYS = Keyspace("jobfleet")
FLEET = "{jobfleet}:queues"
EVERY = {"queues": "wide", "lanes": f"wide={LANES}"}
"""The lanes of this queue are on all nodes."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterServers]:
    with ClusterServers() as made:
        yield made


@pytest.fixture(scope="module")
def programs(cluster: ClusterServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    programs = Programs(cluster.url, tmp_path_factory.mktemp("programs"))
    try:
        yield programs
    finally:
        programs.close()
        sys.stdout.write(programs.logs())


@pytest.fixture(scope="module")
def worker(programs: Programs) -> Program:
    """One worker for all tests, with a reaper: it must survive all that they do."""
    return programs.ready(with_reaper="true", **EVERY)


@pytest.fixture
def fleet(cluster: ClusterServers, worker: Program) -> Iterator[Fleet]:
    """A client, while the worker runs."""
    with Fleet(cluster.url, patience=LONG, lanes={"wide": LANES}) as fleet:
        yield fleet
    assert not worker.is_over
    assert "Traceback" not in worker.said


def wide(count: int, seconds: float = 0.0) -> list[Job]:
    return [Job("nap", "hist.nap", (seconds,), queue="wide") for _ in range(count)]


def has_waits(node: Node, count: int) -> bool:
    return f"blocked_clients:{count}\r" in node.asked("INFO", "clients")


def test_jobs_of_all_lanes_run_and_the_worker_waits_at_every_node(
    cluster: ClusterServers, programs: Programs, worker: Program, fleet: Fleet
) -> None:
    owners = [cluster.owner(KEYS.lane("wide", index).lane) for index in range(LANES)]
    assert {node.port for node in owners} == {node.port for node in cluster.nodes if node.is_primary}
    ids = [receipt.id for receipt in fleet.enqueue_many(wide(200))]
    results = settle_all(fleet, ids)

    assert {one.status for one in results.values()} == {JobStatus.COMPLETED}
    assert len({job_id.split(".")[1] for job_id in ids}) == LANES
    for node in set(owners):
        wait_until(partial(has_waits, node, owners.count(node)), timeout=LONG, why="a wait for each of its lanes")
    alone = [fleet.wait(fleet.enqueue(job), timeout=LONG) for job in wide(LANES)]
    assert {one.status for one in alone} == {JobStatus.COMPLETED}
    assert sum(queue.totals["completed"] for queue in fleet.queues()) == 200 + LANES
    assert sorted(programs.history.starts().values()) == [1] * (200 + LANES)
    assert {row.lane: row.node for row in fleet.spread("wide")} == {
        index: f"127.0.0.1:{owner.port}" for index, owner in enumerate(owners)
    }
    assert [one.seen for one in fleet.doctor().findings if one.check == "cluster"] == [
        "6 nodes online; all slots are served."
    ]
    assert "claim.deaf" not in worker.said
    assert "claim.away" not in worker.said


async def test_an_awaited_client_waits_for_jobs(cluster: ClusterServers, worker: Program) -> None:
    async with AsyncFleet(cluster.url, lanes={"wide": LANES}) as fleet:
        results = await asyncio.gather(*[fleet.wait(await fleet.enqueue(job), timeout=LONG) for job in wide(LANES)])
        assert {one.status for one in results} == {JobStatus.COMPLETED}
    assert not worker.is_over


def test_cron_and_flows_cross_the_nodes(programs: Programs, fleet: Fleet) -> None:
    fleet.cron.add("nap", "* * * * * *", Job("nap", "hist.nap", (0.0,), queue="wide"))
    parents = [fleet.enqueue(job) for job in wide(LANES)]
    child = fleet.enqueue(Job("last", "hist.nap", (0.0,), queue="wide", depends_on=parents))

    assert fleet.wait(child, timeout=LONG).status is JobStatus.COMPLETED
    assert set(parents) <= programs.history.ended()
    wait_until(lambda: fleet.cron.history("nap", limit=10), timeout=LONG, why="it fires")
    fleet.cron.remove("nap")


class Load:
    """Threads that enqueue jobs and wait for each.

    The jobs have the level ``replicated``: a primary that dies takes the last writes with it, and ``fast`` promises
    nothing about these.

    Args:
        fleet: The client.

    Attributes:
        results: The results, by id.
        accepted: The ids of all jobs whose enqueue has returned.
        longest: How long the slowest job took, from its enqueue to its result, in seconds.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.results: dict[str, JobResult[object]] = {}
        self.accepted: set[str] = set()
        self.longest = 0.0
        self._fleet = fleet
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self) -> None:
        while not self._ends.is_set():
            began = time.monotonic()
            job_id = self._accepted()
            self.accepted.add(job_id)
            self.results[job_id] = self._fleet.wait(job_id, timeout=LONG)
            self.longest = max(self.longest, time.monotonic() - began)

    def _accepted(self) -> str:
        """Enqueue a job as durably as the cluster can: a primary whose replica has just taken over has none itself."""
        job = Job("nap", "hist.nap", (0.0,), queue="wide", durability="replicated")
        try:
            return self._fleet.enqueue(job)
        except (DurabilityUnavailable, DurabilityUncertain):
            return self._fleet.enqueue(Job("nap", "hist.nap", (0.0,), queue="wide", id=job.suffix))

    def await_more(self, count: int = 20) -> None:
        """Wait until so many more jobs have ended."""
        before = len(self.results)
        wait_until(lambda: len(self.results) >= before + count, timeout=LONG, why=f"{count} more jobs end")

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.await_more()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        assert set(self.results) == self.accepted
        assert {one.status for one in self.results.values()} == {JobStatus.COMPLETED}


@pytest.mark.parametrize("lanes", [2, pytest.param(10 * LANES, marks=pytest.mark.slow)])
def test_no_job_is_lost_or_runs_twice_while_slots_move(
    cluster: ClusterServers, programs: Programs, fleet: Fleet, lanes: int
) -> None:
    with Load(fleet) as load:
        for number in range(lanes):
            key = KEYS.lane("wide", number % LANES).lane
            to = next(node for node in cluster.nodes if node.is_primary and node is not cluster.owner(key))
            with moved_back(cluster, key, to) as migration:
                migration.run()
                load.await_more()
    runs = programs.history.starts()
    assert [runs[job_id] for job_id in load.accepted] == [1] * len(load.accepted)
    print(f"{2 * lanes} slots moved, {len(runs)} jobs, the slowest took {load.longest:.2f} s")  # noqa: T201 - measured


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_no_job_is_lost_when_a_primary_dies(cluster: ClusterServers, fleet: Fleet, kills: int) -> None:
    with Load(fleet) as load:
        for number in range(kills):
            victim = cluster.owner(FLEET if number % 2 == 0 else KEYS.lane("wide", number).lane)
            victim.kill()
            wait_until(partial(has_taken_over, cluster, victim), timeout=LONG, why="a replica takes over")
            load.await_more(100)
            victim.restart()
            cluster.await_whole()
    print(f"{kills} primaries died, {len(load.accepted)} jobs, the slowest took {load.longest:.2f} s")  # noqa: T201 - measured


def has_taken_over(cluster: ClusterServers, victim: Node) -> bool:
    return all(row[2][1] != victim.port for row in cluster.living.asked("CLUSTER SLOTS"))
