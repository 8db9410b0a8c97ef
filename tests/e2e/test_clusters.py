"""Fleets on a real cluster: lanes on several nodes, slots that move, a primary that dies. No job is lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from jobfleet import AsyncFleet, Fleet, Job, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.cluster import ClusterServers, Node
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # a test waits several minutes at most, on a machine that may be busy
LANES = 6
KEYS = Keyspace("jobfleet")
EVERY = {"queues": "wide", "lanes": f"wide={LANES}"}
"""The lanes of this queue are on all nodes."""


@pytest.fixture(scope="module")
def six() -> Iterator[ClusterServers]:
    with ClusterServers() as made:
        yield made


@pytest.fixture
def cluster(six: ClusterServers) -> ClusterServers:
    six.flush()
    return six


@pytest.fixture
def programs(cluster: ClusterServers, tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(cluster.url, tmp_path)
    try:
        yield programs
    finally:
        programs.close()
        sys.stdout.write(programs.logs())


def wide(count: int, seconds: float = 0.0) -> list[Job]:
    return [Job("nap", "hist.nap", (seconds,), queue="wide") for _ in range(count)]


def nodes_of(cluster: ClusterServers) -> list[Node]:
    return [cluster.owner(KEYS.lane("wide", index).lane) for index in range(LANES)]


def has_waits(node: Node, count: int) -> bool:
    return f"blocked_clients:{count}\r" in node.asked("INFO", "clients")


def test_jobs_of_all_lanes_run_and_the_worker_waits_at_every_node(cluster: ClusterServers, programs: Programs) -> None:
    owners = nodes_of(cluster)
    assert {node.port for node in owners} == {node.port for node in cluster.nodes if node.is_primary}
    worker = programs.ready(with_reaper="true", **EVERY)
    with Fleet(cluster.url, lanes={"wide": LANES}) as fleet:
        ids = [receipt.id for receipt in fleet.enqueue_many(wide(200))]
        results = settle_all(fleet, ids)

        assert {one.status for one in results.values()} == {JobStatus.COMPLETED}
        assert len({job_id.split(".")[1] for job_id in ids}) == LANES
        for node in set(owners):
            wait_until(partial(has_waits, node, owners.count(node)), timeout=LONG, why="a wait for each of its lanes")
        alone = [fleet.wait(fleet.enqueue(job), timeout=LONG) for job in wide(LANES)]
        assert {one.status for one in alone} == {JobStatus.COMPLETED}
        assert fleet.queues()[0].totals["completed"] == 200 + LANES
        assert sorted(programs.history.starts().values()) == [1] * (200 + LANES)
    for words in ("claim.deaf", "claim.away", "Traceback"):
        assert words not in worker.said


async def test_an_awaited_client_waits_for_jobs_and_follows_their_events(
    cluster: ClusterServers, programs: Programs
) -> None:
    programs.ready(with_reaper="true", **EVERY)
    async with AsyncFleet(cluster.url, lanes={"wide": LANES}) as fleet:
        receipts = [await fleet.enqueue(job) for job in wide(LANES)]
        results = [await fleet.wait(receipt, timeout=LONG) for receipt in receipts]
        assert {one.status for one in results} == {JobStatus.COMPLETED}


def test_cron_and_flows_cross_the_nodes(cluster: ClusterServers, programs: Programs) -> None:
    programs.ready(with_reaper="true", **{**EVERY, "queues": "wide,default,urgent"})
    with Fleet(cluster.url, lanes={"wide": LANES}) as fleet:
        fleet.cron.add("nap", "* * * * * *", Job("nap", "hist.nap", (0.0,), queue="wide"))
        parents = [fleet.enqueue(job) for job in wide(LANES)]
        child = fleet.enqueue(Job("last", "hist.nap", (0.0,), depends_on=parents))

        assert fleet.wait(child, timeout=LONG).status is JobStatus.COMPLETED
        ended = programs.history.ended()
        assert set(parents) <= ended
        wait_until(lambda: fleet.cron.history("nap", limit=10), timeout=LONG, why="it fires")
        fleet.cron.remove("nap")
