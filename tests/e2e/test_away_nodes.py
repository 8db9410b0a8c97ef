"""One node of a cluster is away, and no replica takes over: what is on the other nodes goes on."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.cluster import ClusterServers
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until

LANES = 6
LEASE = 2.0
KEYS = Keyspace("jobfleet")
FLEET = "{jobfleet}:queues"


@pytest.fixture
def cluster() -> Iterator[ClusterServers]:
    with ClusterServers("--appendonly", "yes", "--appendfsync", "always", is_replicated=False) as made:
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
