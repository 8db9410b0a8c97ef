"""Connections that go silent without an end, and a primary that lives on after a failover."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.proxy import Proxy
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)
LEASE = 6.0
SOON = 15.0
"""Seconds within which a worker must have noticed; it once took up to 36."""


@pytest.fixture
def old() -> Iterator[RedisServer]:
    """The primary at first."""
    with RedisServer("--repl-diskless-sync-delay", "0", tcp=True) as server:
        yield server


@pytest.fixture
def new() -> Iterator[RedisServer]:
    """Its successor."""
    with RedisServer("--repl-diskless-sync-delay", "0", tcp=True) as server:
        yield server


@pytest.fixture
def proxy(old: RedisServer) -> Iterator[Proxy]:
    """What workers connect to."""
    with Proxy(old) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: Proxy, tmp_path: Path) -> Iterator[Programs]:
    """Starts workers behind the proxy."""
    yield from started(proxy.url, tmp_path)


@pytest.fixture
def beside(old: RedisServer, tmp_path: Path) -> Iterator[Programs]:
    """Starts workers that need no proxy."""
    folder = tmp_path / "beside"
    folder.mkdir()
    yield from started(old.url, folder)


def started(url: str, folder: Path) -> Iterator[Programs]:
    """Start programs, and end them; on failure their logs are shown."""
    programs = Programs(url, folder)
    try:
        yield programs
    finally:
        programs.close()
        sys.stdout.write(programs.logs())


def gated(fleet: Fleet, gate: Path, count: int) -> list[str]:
    """Enqueue jobs that wait at a gate."""
    return [fleet.enqueue(Job(f"gate {n}", "hist.gate", (str(gate),), max_retries=0)) for n in range(count)]


def peers(raw: redis.Redis) -> list[str]:
    """Return the other clients of a server, listeners included and replicas excluded."""
    rows: list[dict[str, Any]] = [*raw.client_list(_type="normal"), *raw.client_list(_type="pubsub")]
    return [f"{row['addr']} {row['cmd']} {row['age']}" for row in rows if row["id"] != str(raw.client_id())]


def await_none(raw: redis.Redis) -> None:
    """Wait until nobody asks a server; a failure names who still does."""
    seen: list[list[str]] = [[]]

    def is_alone() -> bool:
        seen[0] = peers(raw)
        return not seen[0]

    try:
        wait_until(is_alone, timeout=LONG, why="nobody is connected to the old primary")
    except AssertionError as error:
        error.add_note(f"connected: {seen[0]}")
        raise


def await_renewal(raw: redis.Redis, ids: Sequence[str]) -> None:
    """Wait until each of some leases has been renewed once more."""

    def deadlines() -> dict[str, float]:
        return {job_id: raw.zscore(LANE.lease, job_id) or 0.0 for job_id in ids}

    before = deadlines()
    wait_until(
        lambda: all(now > before[job_id] for job_id, now in deadlines().items()), timeout=LONG, why="all are renewed"
    )


def succeed(old: RedisServer, new: RedisServer) -> None:
    """Let a server have all that another one has, and take over."""
    replica = new.client()
    replica.replicaof("127.0.0.1", str(old.port))
    with old.client() as primary:
        primary.set("mark", "here")
    wait_until(lambda: replica.get("mark") == b"here", timeout=LONG, why="the replica has the mark")
    replica.replicaof("NO", "ONE")


def test_the_proxy_passes_on_the_end_of_a_connection_that_is_reset(old: RedisServer, proxy: Proxy) -> None:
    raw = old.client()
    with socket.create_connection(("127.0.0.1", urlsplit(proxy.url).port or 0)) as one:
        one.sendall(b"PING\r\n")
        assert one.recv(1, socket.MSG_PEEK) == b"+"
    await_none(raw)


def test_jobs_run_once_though_all_connections_go_silent(
    old: RedisServer, proxy: Proxy, behind: Programs, beside: Programs, tmp_path: Path
) -> None:
    raw, gate = old.client(), tmp_path / "gate"
    behind.ready(lease=LEASE, slots=6)
    with Fleet(old.url) as fleet:
        ids = gated(fleet, gate, 6)
        for job_id in ids:
            behind.history.await_start(job_id)
        beside.ready(lease=LEASE, slots=6)  # it would take over whatever expires

        proxy.silence()
        for _ in range(3):
            await_renewal(raw, ids)
        gate.touch()
        results = settle_all(fleet, ids)

    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert set(behind.history.starts().values()) == {1}
    assert beside.history.starts() == {}
    assert raw.hgetall(LANE.tries) == {}


def test_a_job_runs_once_though_each_reply_takes_longer_than_a_renewal_may(
    old: RedisServer, proxy: Proxy, behind: Programs, beside: Programs, tmp_path: Path
) -> None:
    raw, gate = old.client(), tmp_path / "gate"
    worker = behind.ready(lease=LEASE, slots=3, processes=3)
    with Fleet(old.url) as fleet:
        ids = gated(fleet, gate, 3)
        for job_id in ids:
            behind.history.await_start(job_id)
        beside.reaper(lease=LEASE)
        beside.ready(lease=LEASE, slots=3)  # it would take over whatever expires

        proxy.delay(0.6)  # each way; a renewal is given up after a second, and a connection needs more than that
        end = int(raw.time()[0]) + 4 * LEASE
        wait_until(lambda: int(raw.time()[0]) > end, timeout=LONG, why="four leases have passed")
        gate.touch()
        results = settle_all(fleet, ids)

    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert behind.history.starts() == dict.fromkeys(ids, 1)
    assert beside.history.starts() == {}
    assert worker.said.count("leases.longer") == 1, worker.said


def test_an_idle_worker_notices_within_seconds_that_its_connections_are_silent(
    old: RedisServer, proxy: Proxy, behind: Programs
) -> None:
    raw = old.client()
    behind.ready()
    wait_until(lambda: raw.info("clients")["blocked_clients"] == 1, timeout=LONG, why="the child waits")

    proxy.silence()
    with Fleet(old.url) as fleet:
        job_id = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))
        result = fleet.wait(job_id, timeout=SOON)

    assert result.status is JobStatus.COMPLETED


@pytest.mark.first(1)
@pytest.mark.parametrize("how", ["alone", "a replica"])
def test_an_old_primary_that_lives_on_is_left_alone(
    old: RedisServer, new: RedisServer, proxy: Proxy, behind: Programs, tmp_path: Path, how: str
) -> None:
    gate = tmp_path / "gate"
    # It renews as often as with the other lease, but does not lose its jobs on a machine that is busy for a moment.
    worker = behind.ready(lease=5 * LEASE, renew_every=LEASE / 3, slots=20, beat=0.5, gone_after=2, with_reaper=True)
    with Fleet(old.url) as fleet:
        through = gated(fleet, gate, 6)
        for job_id in through:
            behind.history.await_start(job_id)

    succeed(old, new)
    proxy.lead_to(new)
    raw = old.client()
    if how == "a replica":
        raw.replicaof("127.0.0.1", str(new.port))
    with Fleet(new.url, patience=60) as fleet:
        later = gated(fleet, gate, 6)
        for job_id in later:
            behind.history.await_start(job_id)
        await_none(raw)
        gate.touch()
        results = settle_all(fleet, [*through, *later])
        tries = new.client().hgetall(LANE.tries)

    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert set(behind.history.starts().values()) == {1}
    assert tries == {}
    assert "job.lost" not in worker.said
    assert "job.reaped" not in worker.said
