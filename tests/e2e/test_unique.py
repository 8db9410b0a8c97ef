"""Unique keys with real processes: many producers at once, and workers that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import APPS, LONG, ROOT, Programs
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # a test waits several minutes at most, on a machine that may be busy
LANE = Keyspace("jobfleet").lane("default", 0)
PROCESSES, THREADS = 20, 50


def produce(url: str, gate: Path, mode: str, processes: int = PROCESSES) -> list[tuple[bool, str]]:
    """Let producers enqueue one key at once, 50 a process; what each was told."""
    command = [sys.executable, "-W", "ignore", str(APPS / "producers.py"), url, str(gate), str(THREADS), mode]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    producers = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    try:
        ready = f"{gate.name}.*.ready"
        wait_until(lambda: len(list(gate.parent.glob(ready))) == processes, timeout=2 * LONG, why="all are ready")
        gate.touch()
        said = [producer.communicate(timeout=2 * LONG)[0] for producer in producers]
    finally:
        for producer in producers:
            producer.kill()
            producer.wait()
    lines = [line.split(" ") for text in said for line in text.splitlines()]
    return [(created == "1", job_id) for created, job_id in lines]


def test_a_thousand_producers_make_one_job_and_its_worker_s_death_leaves_no_lock(
    programs: Programs, fleet: Fleet, raw: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    receipts = produce(redis_url, gate, "existing")

    assert len(receipts) == PROCESSES * THREADS
    assert sum(created for created, _ in receipts) == 1
    (job_id,) = {job_id for _, job_id in receipts}
    assert raw.hget(LANE.totals, "enqueued") == b"1"

    programs.ready()
    (child,) = programs.history.await_start(job_id)
    again = fleet.submit(Job("gate", "hist.gate", (f"{gate}.end",), unique="gate-{0}"))
    assert (again.created, again.id, again.status) == (False, job_id, JobStatus.RUNNING)
    os.kill(child, signal.SIGKILL)
    programs.history.await_start(job_id, times=2)
    assert not fleet.submit(Job("gate", "hist.gate", (f"{gate}.end",), unique="gate-{0}")).created
    Path(f"{gate}.end").touch()

    assert fleet.wait(job_id, timeout=LONG).status is JobStatus.COMPLETED
    assert not raw.exists(LANE.unique, LANE.locks, LANE.meta)
    assert fleet.submit(Job("gate", "hist.gate", (f"{gate}.end",), unique="gate-{0}")).created


def test_of_many_replacements_at_once_one_stands(
    raw: redis.Redis, fleet: Fleet, redis_url: str, tmp_path: Path
) -> None:
    receipts = produce(redis_url, tmp_path / "gate", "replace", processes=4)

    created = [job_id for is_new, job_id in receipts if is_new]
    waiting: Any = raw.zrange(LANE.ready[2], 0, -1)
    (standing,) = waiting
    assert standing.decode() in created
    states = [result.status for result in fleet.poll_many(created) if result is not None]
    assert sorted(states) == [JobStatus.CANCELLED] * (len(created) - 1) + [JobStatus.QUEUED]
    lock = raw.hget(LANE.unique, f"gate-{tmp_path / 'gate'}.end")
    assert isinstance(lock, bytes)
    assert lock.split()[0] == standing


def test_a_job_that_dies_with_its_child_for_good_leaves_no_lock(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    programs.ready()
    job_id = fleet.submit(Job("nap", "hist.nap", (600.0,), unique="nap", max_crashes=1)).id
    (child,) = programs.history.await_start(job_id)
    assert raw.hlen(LANE.unique) == 1

    os.kill(child, signal.SIGKILL)

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.status, result.error_class) == (JobStatus.FAILED, "crashed")
    assert not raw.exists(LANE.unique)
    assert fleet.submit(Job("nap", "hist.nap", (0.0,), unique="nap")).created


def test_a_worker_that_dies_whole_leaves_its_key_to_the_job_alone(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    programs.reaper()
    worker = programs.ready(lease=6)
    job_id = fleet.submit(Job("nap", "hist.nap", (600.0,), unique="nap")).id
    programs.history.await_start(job_id)

    worker.send_all(signal.SIGKILL)

    wait_until(lambda: not raw.hexists(LANE.runs, job_id), timeout=LONG, why="the job is reaped")
    again = fleet.submit(Job("nap", "hist.nap", (0.0,), unique="nap"))
    assert (again.created, again.id) == (False, job_id)
    assert fleet.cancel(job_id)
    assert not raw.exists(LANE.unique)


def test_a_key_held_while_queued_is_free_while_its_job_runs(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    programs.ready(slots=1)
    gates = [tmp_path / name for name in "ab"]
    jobs = [Job("gate", "hist.gate", (str(gate),), unique="gate", unique_for="queued") for gate in gates]

    first = fleet.submit(jobs[0])
    programs.history.await_start(first.id)
    second, third = fleet.submit(jobs[1]), fleet.submit(Job("gate", "hist.gate", ("",), unique="gate"))
    for gate in gates:
        gate.touch()

    assert (first.created, second.created, third.created, third.id) == (True, True, False, second.id)
    assert {fleet.wait(one.id, timeout=LONG).status for one in (first, second)} == {JobStatus.COMPLETED}
    assert sorted(programs.history.starts().values()) == [1, 1]


def test_one_that_has_waited_for_another_and_dies_for_good_leaves_no_lock(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    programs.ready()
    parent = fleet.enqueue(Job("nap", "hist.nap", (0.0,), delay=1))
    child = fleet.submit(Job("nap", "hist.nap", (600.0,), depends_on=[parent], unique="nap", max_crashes=1))
    assert not fleet.submit(Job("nap", "hist.nap", (0.0,), unique="nap")).created
    (process,) = programs.history.await_start(child.id)

    os.kill(process, signal.SIGKILL)

    assert fleet.wait(child.id, timeout=LONG).error_class == "crashed"
    assert not raw.exists(LANE.unique, LANE.locks)


def _holds_no_more(raw: redis.Redis, lock: bytes) -> bool:
    return raw.hget(LANE.unique, "nap") != lock


def test_a_fire_s_job_that_dies_for_good_leaves_its_key_to_the_next_fire(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    programs.ready()
    programs.reaper()
    fleet.cron.add("tick", "* * * * * *", Job("nap", "hist.nap", (600.0,), unique="nap", max_crashes=1))

    for _ in range(2):
        wait_until(lambda: raw.exists(LANE.unique), timeout=LONG, why="an entry fires")
        lock = raw.hget(LANE.unique, "nap")
        assert isinstance(lock, bytes)
        job_id = lock.split()[0].decode()
        (process,) = programs.history.await_start(job_id)
        os.kill(process, signal.SIGKILL)
        assert fleet.wait(job_id, timeout=LONG).error_class == "crashed"
        wait_until(partial(_holds_no_more, raw, lock), timeout=LONG, why="its key is free")

    fleet.cron.pause("tick")
    fired = [fire.job_id for fire in fleet.cron.history("tick") if fire.outcome == "fired"]
    assert len(fired) >= 2
    assert len(set(fired)) == len(fired)
