"""One node of a cluster is away, and no replica takes over: what is on the other nodes goes on."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobStatus, StoreUnavailable
from jobfleet.store.keys import Keyspace, lane_number
from tests.support.cluster import ClusterServers, Node
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until

LANES = 6
LEASE = 2.0
KEYS = Keyspace("jobfleet")
FLEET = "{jobfleet}:queues"
QUEUES = ("qa", "qb", "qc", "qd", "qe")
"""Three of them are on one node, and two of them on the node of the fleet's keys."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterServers]:
    with ClusterServers("--appendonly", "yes", "--appendfsync", "always", replicas=0) as made:
        yield made


@pytest.fixture
def programs(cluster: ClusterServers, tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(cluster.url, tmp_path)
    try:
        yield programs
    finally:
        programs.close()
        sys.stdout.write(programs.logs())


def first_to_end(cluster: ClusterServers, away: set[int]) -> float:
    """When the first lease ends in the lanes that are not away, in seconds."""
    lanes = [KEYS.lane("wide", index) for index in range(LANES) if index not in away]
    rows = [cluster.owner(lane.lane).asked("ZRANGE", lane.lease, 0, 0, "WITHSCORES") for lane in lanes]
    return min(float(row[1]) for row in rows if row) / 1e6


def test_runs_on_other_nodes_keep_their_leases_and_the_log_names_the_node(
    cluster: ClusterServers, programs: Programs, tmp_path: Path
) -> None:
    worker = programs.ready(lease=LEASE, slots=20, queues="wide", lanes=f"wide={LANES}")
    victim = next(node for node in cluster.nodes if node is not cluster.owner(FLEET))
    away = {index for index in range(LANES) if cluster.owner(KEYS.lane("wide", index).lane) is victim}
    with Fleet(cluster.url, lanes={"wide": LANES}, patience=LONG) as fleet:
        gate = str(tmp_path / "gate")
        ids = [fleet.enqueue(Job("gate", "hist.gate", (gate,), queue="wide", max_retries=0)) for _ in range(2 * LANES)]
        for job_id in ids:
            programs.history.await_start(job_id)

        victim.kill()
        (seconds, _) = cluster.living.asked("TIME")
        wait_until(lambda: first_to_end(cluster, away) > int(seconds) + 3 * LEASE, timeout=LONG, why="leases go on")
        worker.await_line("redis.lost")
        victim.restart()
        (tmp_path / "gate").touch()
        results = settle_all(fleet, ids)

    elsewhere = {job_id for job_id in ids if int(job_id.split(".")[1]) not in away}
    assert 0 < len(elsewhere) < len(ids)
    assert {results[job_id].status for job_id in elsewhere} == {JobStatus.COMPLETED}
    assert {job_id: programs.history.starts()[job_id] for job_id in elsewhere} == dict.fromkeys(elsewhere, 1)
    lost = re.findall(r"redis\.lost .*", worker.said)
    shown = re.escape(f"redis.lost url={cluster.url} node=127.0.0.1:{victim.port} reason=")
    rest = r"[^.]+\. Other nodes are served; lanes on this one wait for it"
    assert len(lost) == 1
    assert re.fullmatch(shown + rest, lost[0])


def nap(queue: str, **fields: Any) -> Job:
    return Job("nap", "hist.nap", (0.0,), queue=queue, **fields)


def tell_what_is_away(url: str, victim: Node, living: Collection[str]) -> None:
    """Diagnosis while a node is away: it names the node and its lanes, and shows the rest."""
    node, away = f"127.0.0.1:{victim.port}", [queue for queue in QUEUES if queue not in living]
    with Fleet(url, patience=0.5) as fleet:
        assert {row.queue for row in fleet.spread() if row.is_away and row.queue in QUEUES} == set(away)
        assert {one.name: (one.away, one.totals["completed"]) for one in fleet.queues() if one.name in QUEUES} == {
            queue: ((0,), 0) if queue in away else ((), 4) for queue in QUEUES
        }
        found = {one.check: one for one in fleet.doctor().findings}
        lanes = ", ".join(f"{queue}.0" for queue in away)
        assert found["cluster"].level == "fault"
        assert f"Down: {node}. " in found["cluster"].seen
        assert lanes in found["cluster"].seen
        assert found["runs"].level == "ok"
    with Fleet(url, patience=0.5, lanes={"wide": LANES}) as fleet:  # it learns the durability from another lane
        jobs = iter(partial(nap, "wide"), None)
        assert fleet.enqueue(next(job for job in jobs if lane_number(job.suffix, LANES) == 1)).split(".")[1] == "1"
        with pytest.raises(StoreUnavailable, match=f"No reply of the node {node} of .*, which has jobfleet:qa:0"):
            fleet.enqueue(nap("qa"))


def test_lanes_of_living_nodes_are_served_while_others_are_away(
    cluster: ClusterServers, programs: Programs, tmp_path: Path
) -> None:
    settings = {"lease": LEASE, "slots": 2, "queues": ",".join(QUEUES), "patience": LONG}
    worker = programs.ready(**settings)
    victim = cluster.owner(KEYS.lane("qa", 0).lane)
    assert victim is not cluster.owner(FLEET)
    living = [queue for queue in QUEUES if cluster.owner(KEYS.lane(queue, 0).lane) is not victim]
    assert 0 < len(living) < len(QUEUES) - 1
    with Fleet(cluster.url, patience=LONG) as fleet:
        gate = str(tmp_path / "gate")
        victim.kill()
        ids = [fleet.enqueue(nap(queue, delay=delay)) for queue in living for delay in (0.0, 0.0, 0.0, 0.5)]
        assert {one.status for one in settle_all(fleet, ids).values()} == {JobStatus.COMPLETED}

        tell_what_is_away(cluster.url, victim, living)

        held = fleet.enqueue(Job("gate", "hist.gate", (gate,), queue=living[0]))
        programs.history.await_start(held)
        worker.close()
        fresh = programs.worker(**settings)  # it reaps the lease of the other one, too
        (tmp_path / "gate").touch()
        ids = [held, *[fleet.enqueue(nap(queue)) for queue in living for _ in range(3)]]
        assert {one.status for one in settle_all(fleet, ids).values()} == {JobStatus.COMPLETED}
        assert len(programs.history.runners(held)) == 2

        victim.restart()
        ids = [fleet.enqueue(nap(queue)) for queue in QUEUES]
        assert {one.status for one in settle_all(fleet, ids).values()} == {JobStatus.COMPLETED}

        victim = cluster.owner(FLEET)
        victim.kill()  # what knows the queues goes on without the keys of the fleet
        fleet.context.queues["qa"] = fleet.context.queues["qa"]._replace(read_at=0.0)
        ids = [fleet.enqueue(nap("qa")) for _ in range(3)]
        assert {one.status for one in settle_all(fleet, ids).values()} == {JobStatus.COMPLETED}
        assert not fresh.is_over
        victim.restart()
