"""Batches in worker processes that die, stop, or have too few slots."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from functools import partial
from typing import Any

import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)


def calls(programs: Programs) -> list[list[str]]:
    """The values of each call, in the order of the calls."""
    path = programs.folder / "calls"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_after_a_crash_the_jobs_of_its_batch_run_alone_until_the_culprit_is_found(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    values = ["a", "b", "bad", "c", "d"]
    ids: dict[str, str] = {
        fleet.enqueue(Job("load", "batches.load", (value,), max_retries=0)): value for value in values
    }
    programs.ready("batches")

    results = settle_all(fleet, ids)

    ended = {ids[job_id]: (result.status, result.result or result.error_class) for job_id, result in results.items()}
    assert ended.pop("bad") == (JobStatus.FAILED, "crashed")
    assert ended == {value: (JobStatus.COMPLETED, f"{value} of 1") for value in "abcd"}
    assert [sorted(call) for call in calls(programs)[:2]] == [sorted(values)] * 2, "all were in one batch, twice"
    after = Counter(map(tuple, calls(programs)[2:]))
    assert after.keys() == {(value,) for value in values}, "then each in one of its own, beside another or alone"
    assert after[("bad",)] in {3, 4}
    assert {after[(value,)] for value in "abcd"} <= {1, 2}
    assert raw.hgetall(LANE.tries) == {}


def test_a_child_that_dies_charges_nobody_who_was_only_gathered(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    worker = programs.ready("batches")
    ids = [fleet.enqueue(Job("insert", "batches.insert", (f"row{n}",))) for n in range(3)]
    wait_until(lambda: fleet.statistics()["running"] == 3, timeout=LONG, why="they are gathered")
    (child,) = worker.children()

    os.kill(child, signal.SIGKILL)

    def holders() -> list[str]:
        records: Any = raw.hvals(LANE.runs)
        return [record.decode().split("|")[1].rpartition(".")[2] for record in records]

    wait_until(lambda: holders() == ["2"] * 3, timeout=LONG, why="its successor has gathered them")
    assert raw.hgetall(LANE.tries) == {}
    worker.send(signal.SIGTERM)
    assert {result.status for result in settle_all(fleet, ids).values()} == {JobStatus.COMPLETED}

    assert sorted(calls(programs)[-1]) == ["row0", "row1", "row2"]


def test_a_worker_that_stops_runs_what_it_has_gathered(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("batches")
    ids = [fleet.enqueue(Job("insert", "batches.insert", (f"row{n}",))) for n in range(4)]
    wait_until(lambda: fleet.statistics()["running"] == 4, timeout=LONG, why="they are gathered")

    worker.send(signal.SIGTERM)

    assert {result.status for result in settle_all(fleet, ids).values()} == {JobStatus.COMPLETED}
    assert worker.exit_code() == 0
    assert [sorted(call) for call in calls(programs)] == [["row0", "row1", "row2", "row3"]]


def test_a_worker_that_stops_at_once_gives_a_batch_back_uncounted(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("batches", grace=0)
    ids = [fleet.enqueue(Job("nap", "batches.nap", (600.0,))) for _ in range(3)]
    wait_until(lambda: calls(programs), timeout=LONG, why="the call has begun")

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    found = [fleet.poll(job_id) for job_id in ids]
    assert {(job.status, job.attempt, job.runs, job.retry_count) for job in found} == {(JobStatus.QUEUED, 0, 1, 0)}


def test_a_worker_says_which_batches_will_never_be_full(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("batches", slots=4)
    fleet.wait(fleet.enqueue(Job("nap", "batches.nap", (0.0,))), timeout=LONG)

    told = {line.partition("batch.narrow ")[2] for line in worker.said.splitlines() if "batch.narrow" in line}
    assert told == {
        "function=batches.insert gathers 4 jobs at most, not 50: a process has 4 slots (--slots)",
        "function=batches.load gathers 4 jobs at most, not 5: a process has 4 slots (--slots)",
    }


def test_a_batch_is_full_when_all_slots_are(programs: Programs, fleet: Fleet) -> None:
    programs.ready("batches", slots=4)

    ids = [fleet.enqueue(Job("insert", "batches.insert", (f"row{n}",))) for n in range(8)]

    assert {result.status for result in settle_all(fleet, ids).values()} == {JobStatus.COMPLETED}
    assert [len(call) for call in calls(programs)] == [4, 4]


def test_a_call_that_nothing_can_stop_ends_with_its_process_and_times_out_job_by_job(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    programs.ready("batches")
    ids = [fleet.enqueue(Job("stuck", "batches.stuck", (600.0,), max_retries=0)) for _ in range(3)]

    results = settle_all(fleet, ids)

    assert {(result.status, result.error) for result in results.values()} == {
        (JobStatus.FAILED, "timed out after 0.6 s")
    }
    assert calls(programs) == [["600", "600", "600"]]


def test_a_call_that_nothing_can_stop_ends_with_its_process_once_all_its_jobs_are_cancelled(
    programs: Programs, fleet: Fleet
) -> None:
    programs.ready("batches", cancel_grace=0.1, stop_grace=0.2, lease=3)
    ids = [fleet.enqueue(Job("stuck", "batches.stuck", (600.0,), timeout=3600)) for _ in range(3)]
    wait_until(lambda: calls(programs), timeout=LONG, why="the call has begun")

    assert all(fleet.cancel(job_id, by="ann") for job_id in ids)

    assert {result.status for result in settle_all(fleet, ids).values()} == {JobStatus.CANCELLED}
    assert calls(programs) == [["600", "600", "600"]]


def test_every_job_ends_once_whatever_children_are_killed(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    chance = random.Random(7)
    worker = programs.ready("batches", processes=2, slots=8)
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("x", "batches.mixed", (n,)) for n in range(120))]

    def has_come_to(share: int) -> bool:
        return bool(fleet.statistics()["completed"] >= share)

    for share in (20, 50):
        wait_until(partial(has_come_to, share), timeout=LONG, why=f"{share} have ended")
        victim = chance.choice(worker.await_children(2))
        os.kill(victim, signal.SIGKILL)
        worker.await_children(2, but=[victim])

    results = settle_all(fleet, ids)
    assert [results[job_id].result for job_id in ids] == list(range(120))
    assert {results[job_id].retry_count for job_id in ids[1:5]} <= {0}
    assert fleet.statistics()["running"] == 0
    assert (raw.hgetall(LANE.runs), raw.hgetall(LANE.tries)) == ({}, {})
