"""Redis goes away and comes back: nobody is charged, nothing runs twice that need not."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, ROOT, Programs, settle_all
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)
LEASE = 6.0
LATE_BY = 1800.0
LATE = f"""
from jobfleet.clock import boottime
from jobfleet.worker.child import claimer

claimer.boottime = lambda: boottime() - 2 * {LATE_BY}
"""
"""The claims of a worker that loads this seem to have been sent more than a lease ago."""


def nap(seconds: float) -> Job:
    return Job("nap", "hist.nap", (seconds,), max_retries=0)


def let_pass(seconds: float) -> None:
    """Wait for a span that is part of the story: how long the server is away."""
    threading.Event().wait(seconds)


@contextmanager
def trouble(act: object, step: float = 0.05) -> Iterator[None]:
    """Do something again and again while the block runs."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(step):
            act()  # type: ignore[operator]

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_an_outage_of_twice_the_lease_costs_nobody_anything(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer, tmp_path: Path, how: str
) -> None:
    raw = own_server.client()
    gate = tmp_path / "gate"
    for _ in range(2):
        own_programs.ready(lease=LEASE, slots=20)
    through = [own_fleet.enqueue(Job("gate", "hist.gate", (str(gate),), max_retries=0)) for _ in range(20)]
    short = [receipt.id for receipt in own_fleet.enqueue_many(nap(0.5) for _ in range(200))]
    for job_id in through:
        own_programs.history.await_start(job_id)

    own_server.pause() if how == "frozen" else own_server.kill()
    let_pass(2 * LEASE + 1)
    own_server.resume() if how == "frozen" else own_server.restart()
    own_fleet.wait(short[-1], timeout=LONG)  # the lane is at work again, two leases have been judged by then
    let_pass(LEASE + 2)
    gate.touch()

    results = settle_all(own_fleet, [*through, *short])
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {result.retry_count for result in results.values()} == {0}
    assert set(own_programs.history.starts().values()) == {1}
    assert raw.hgetall(LANE.tries) == {}
    assert "job.reaped" not in own_programs.logs()
    assert own_fleet.statistics()["completed"] == 220


def test_a_job_whose_claim_was_answered_late_starts_at_once(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    """As after an outage longer than a lease; the next renewal that is due by itself is half an hour away."""
    (tmp_path / "late.py").write_text(LATE)
    programs.environment["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    programs.ready("late", "histories", lease=2 * LATE_BY, renew_every=LATE_BY)

    for _ in range(3):
        assert fleet.wait(fleet.enqueue(nap(0.0)), timeout=LONG).status is JobStatus.COMPLETED


def test_a_restart_under_load_loses_nothing(own_programs: Programs, own_fleet: Fleet, own_server: RedisServer) -> None:
    own_programs.ready(lease=LEASE, processes=2, slots=10)
    ids = [receipt.id for receipt in own_fleet.enqueue_many(nap(0.05) for _ in range(400))]
    wait_until(lambda: len(own_programs.history.ended()) > 50, timeout=LONG, why="some jobs are done")

    own_server.kill()
    own_server.restart()
    ids += [receipt.id for receipt in own_fleet.enqueue_many(nap(0.0) for _ in range(50))]

    results = settle_all(own_fleet, ids)
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {result.retry_count for result in results.values()} == {0}
    assert set(own_programs.history.starts().values()) == {1}
    assert own_fleet.statistics()["completed"] == 450


def test_a_short_freeze_of_redis_is_not_felt(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = own_programs.ready(lease=LEASE)
    job_id = own_fleet.enqueue(Job("door", "hist.door", (str(gate),)))
    own_programs.history.await_start(job_id)

    own_server.pause()
    gate.touch()
    wait_until(own_programs.history.ended, timeout=LONG, why="the job has ended meanwhile")
    own_server.resume()

    assert own_fleet.wait(job_id, timeout=LONG).status is JobStatus.COMPLETED
    assert own_programs.history.starts()[job_id] == 1
    assert not worker.is_over


def test_a_worker_can_be_stopped_while_redis_is_away(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer
) -> None:
    worker = own_programs.ready(grace=1)
    worker.await_children(1)

    own_server.kill()
    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert worker.family() == []


def test_a_second_signal_hurries_a_worker_while_redis_is_away(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer
) -> None:
    worker = own_programs.ready(grace=600)
    worker.await_children(1)

    own_server.kill()
    worker.send(signal.SIGTERM)
    worker.await_line("worker.stopping")
    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert worker.family() == []


def test_orphans_end_although_redis_is_away(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer, tmp_path: Path
) -> None:
    worker = own_programs.ready(lease=2)
    job_id = own_fleet.enqueue(Job("gate", "hist.gate", (str(tmp_path / "never"),)))
    own_programs.history.await_start(job_id)

    own_server.kill()
    worker.send(signal.SIGKILL)

    wait_until(lambda: not worker.family(), timeout=LONG, why="no orphan is left")


def test_scripts_that_redis_forgets_are_sent_again(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    programs.ready(slots=5)

    with trouble(raw.script_flush):
        ids = [fleet.enqueue(Job("chatty", "hist.chatty", (5,))) for _ in range(60)]
        results = settle_all(fleet, ids)

    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert set(programs.history.starts().values()) == {1}
    assert fleet.statistics()["completed"] == 60


def test_connections_that_are_cut_are_made_again(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    worker = programs.ready(slots=5, lease=LEASE)

    def cut() -> None:
        for kind in ("normal", "pubsub"):
            raw.client_kill_filter(_type=kind, skipme=True)

    with trouble(cut, step=0.15):
        ids = [fleet.enqueue(Job("chatty", "hist.chatty", (5,))) for _ in range(40)]
        results = settle_all(fleet, ids)

    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert set(programs.history.starts().values()) == {1}
    assert raw.hgetall(LANE.tries) == {}
    statistics = fleet.statistics()
    assert (statistics["total"], statistics["completed"]) == (40, 40)
    assert not worker.is_over


def test_a_full_redis_still_drains(own_programs: Programs, own_fleet: Fleet, own_server: RedisServer) -> None:
    raw = own_server.client()
    worker = own_programs.ready(slots=5)
    own_fleet.enqueue(nap(0.0))
    own_fleet.pause("default")
    ids = [receipt.id for receipt in own_fleet.enqueue_many(nap(0.01) for _ in range(50))]

    raw.config_set("maxmemory", "1")
    own_fleet.resume("default")
    refused = next(iter(own_fleet.enqueue_many([nap(0.0)]))).error
    results = settle_all(own_fleet, ids)

    assert type(refused).__name__ == "FleetFull"
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert not worker.is_over


def test_a_full_redis_still_drains_though_children_die_and_workers_start(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer
) -> None:
    raw = own_server.client()
    worker = own_programs.ready(slots=5)
    own_fleet.enqueue(nap(0.0))
    own_fleet.pause("default")
    ids = [receipt.id for receipt in own_fleet.enqueue_many(nap(0.01) for _ in range(200))]

    raw.config_set("maxmemory", "1")
    (child,) = worker.await_children(1)
    os.kill(child, signal.SIGKILL)
    worker.await_children(1, but=[child])
    another = own_programs.worker("histories", queues="default,urgent")
    own_fleet.resume("default")
    results = settle_all(own_fleet, ids)
    own_programs.history.await_start(ids[0])
    wait_until(lambda: len(own_fleet.workers()) == 2, timeout=LONG, why="the other worker is there")

    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert not worker.is_over
    assert not another.is_over
    assert "exited with code 2" not in own_programs.logs()


def test_a_child_that_cannot_start_says_why_and_is_tried_again(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer
) -> None:
    raw = own_server.client()
    worker = own_programs.ready()
    (child,) = worker.await_children(1)

    raw.acl_setuser("default", enabled=True, nopass=True, commands=["-hget"], keys=["*"], reset=False)
    os.kill(child, signal.SIGKILL)
    worker.await_line("child.refused")
    raw.acl_setuser("default", enabled=True, nopass=True, commands=["+hget"], keys=["*"], reset=False)

    assert own_fleet.wait(own_fleet.enqueue(nap(0.0)), timeout=LONG).status is JobStatus.COMPLETED
    (line, *_) = (line for line in worker.said.splitlines() if "child.refused" in line)
    assert "no permissions to run the 'hget' command" in line
