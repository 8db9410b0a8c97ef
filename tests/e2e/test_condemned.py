"""Runs that nothing but the end of their process can end: it ends, and nobody else pays."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Program, Programs, settle_all
from tests.support.server import is_running
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)
NEVER = "/nonexistent/gate"
SOON = {"cancel_grace": 0.2, "stop_grace": 0.5, "grace": 30, "lease": 30}
STUCK: dict[str, tuple[object, ...]] = {
    "hist.block": (60,),  # time.sleep in a coroutine
    "hist.stubborn": (NEVER,),  # a coroutine that swallows its cancellation
    "hist.deaf": (NEVER,),  # a thread that does the same
    "hist.rest": (60,),  # a thread in a call of C
    "hist.backtrack": (),  # the GIL is held by a call of C
}
stuck = pytest.mark.parametrize("function", sorted(STUCK))


def whole(worker: Program, old: int, raw: redis.Redis) -> None:
    """The child is gone, its successor is there, and no lease is left."""
    wait_until(lambda: not is_running(old), timeout=LONG, why="the condemned child is gone")
    assert old not in worker.await_children(1)
    assert not raw.exists(LANE.runs, LANE.lease)


@pytest.mark.first(1)
@stuck
def test_a_hard_limit_ends_whatever_runs(programs: Programs, fleet: Fleet, raw: redis.Redis, function: str) -> None:
    worker = programs.ready(**SOON)

    job_id = fleet.enqueue(Job("stuck", function, STUCK[function], hard_timeout=1, max_retries=0))
    (child,) = programs.history.await_start(job_id)
    result = fleet.wait(job_id, timeout=LONG)

    assert (result.status, result.error_class) == (JobStatus.FAILED, "timeout")
    assert (result.error, result.error_type) == ("timed out after 1 s", "transient")
    assert programs.history.ended() == set()
    assert programs.history.starts()[job_id] == 1
    assert raw.hgetall(LANE.tries) == {}
    whole(worker, child, raw)


@pytest.mark.first(1)
@stuck
def test_a_cancellation_ends_whatever_runs(programs: Programs, fleet: Fleet, raw: redis.Redis, function: str) -> None:
    worker = programs.ready(**SOON)
    job_id = fleet.enqueue(Job("stuck", function, STUCK[function]))
    (child,) = programs.history.await_start(job_id)

    assert fleet.cancel(job_id, by="ann")
    result = fleet.wait(job_id, timeout=LONG)

    assert (result.status, result.error) == (JobStatus.CANCELLED, "cancelled by ann")
    assert (result.cancel_requested_by, result.stop_stage) == ("ann", "condemned")
    assert programs.history.ended() == set()
    assert not is_running(child), "it is cancelled only when its code does not run any more"
    whole(worker, child, raw)


def test_neighbours_finish_and_new_jobs_run_elsewhere_meanwhile(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(**SOON)
    neighbours = [fleet.enqueue(Job("gate", "hist.gate", (str(gate),), max_retries=0)) for _ in range(2)]
    neighbours.append(fleet.enqueue(Job("door", "hist.door", (str(gate),), max_retries=0)))
    stuck = fleet.enqueue(Job("stuck", "hist.deaf", (NEVER,), hard_timeout=1, max_retries=0))
    children = {programs.history.await_start(job_id)[0] for job_id in (*neighbours, stuck)}
    assert len(children) == 1

    worker.await_line("child.condemned")
    new = fleet.enqueue(Job("new", "hist.nap", (0.0,)))
    assert fleet.wait(new, timeout=LONG).status is JobStatus.COMPLETED
    assert set(programs.history.runners(new)).isdisjoint(children), "its successor has claimed it"
    assert {fleet.poll(job_id).status for job_id in (*neighbours, stuck)} == {JobStatus.RUNNING}
    gate.touch()

    results = settle_all(fleet, [*neighbours, stuck])
    assert (results[stuck].status, results[stuck].error_class) == (JobStatus.FAILED, "timeout")
    del results[stuck]
    assert {(one.status, one.attempt) for one in results.values()} == {(JobStatus.COMPLETED, 1)}
    assert set(programs.history.starts().values()) == {1}
    whole(worker, children.pop(), raw)


def test_a_neighbour_that_outlasts_the_grace_is_given_back_uncounted(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(**{**SOON, "grace": 1.5})
    neighbour = fleet.enqueue(Job("deaf", "hist.deaf", (str(gate),), max_retries=0, max_crashes=1))
    stuck = fleet.enqueue(Job("stuck", "hist.block", (60,), hard_timeout=1, max_retries=0))
    (child,) = {programs.history.await_start(job_id)[0] for job_id in (neighbour, stuck)}

    assert fleet.wait(stuck, timeout=LONG).error_class == "timeout"
    programs.history.await_start(neighbour, 2)
    gate.touch()

    result = fleet.wait(neighbour, timeout=LONG)
    assert (result.status, result.attempt, result.retry_count) == (JobStatus.COMPLETED, 1, 0)
    whole(worker, child, raw)


def test_a_condemned_run_costs_a_failure_and_is_run_again(programs: Programs, fleet: Fleet) -> None:
    programs.ready(**SOON)

    job_id = fleet.enqueue(Job("stuck", "hist.block", (60,), hard_timeout=1, max_retries=1, retry_delay=0.1))
    result = fleet.wait(job_id, timeout=LONG)

    assert (result.error_class, programs.history.starts()[job_id]) == ("timeout", 2)


def test_who_says_that_time_outs_are_final_is_heard_also_when_the_child_cannot_speak(
    programs: Programs, fleet: Fleet
) -> None:
    programs.ready(**SOON)

    job_id = fleet.enqueue(Job("stuck", "hist.final", (60,), hard_timeout=1))
    result = fleet.wait(job_id, timeout=LONG)

    assert (result.error_class, result.error_type, programs.history.starts()[job_id]) == ("timeout", "permanent", 1)


def test_with_a_short_lease_a_job_that_holds_the_gil_runs_once(programs: Programs, fleet: Fleet) -> None:
    programs.ready(lease=3)
    programs.ready(lease=3)  # another worker, which would take it

    job_id = fleet.enqueue(Job("clutch", "hist.clutch", (8,), timeout=60))
    result = fleet.wait(job_id, timeout=LONG)

    assert (result.status, programs.history.starts()[job_id]) == (JobStatus.COMPLETED, 1)


def test_a_worker_that_stops_ends_a_condemned_child_too(programs: Programs, fleet: Fleet) -> None:
    import signal

    worker = programs.ready(**SOON)
    job_id = fleet.enqueue(Job("stuck", "hist.rest", (60,), hard_timeout=2, max_retries=0))
    programs.history.await_start(job_id)

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert fleet.poll(job_id).error_class == "timeout"
    assert worker.family() == []


def test_a_job_that_asked_for_more_time_may_block_its_loop_for_so_long(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(**SOON)

    job_id = fleet.enqueue(Job("prolong", "hist.prolong", (3,), hard_timeout=0.5, max_retries=0))
    result = fleet.wait(job_id, timeout=LONG)

    assert (result.status, programs.history.starts()[job_id]) == (JobStatus.COMPLETED, 1)
    assert "child.condemned" not in worker.said


def test_two_condemned_runs_of_a_child_end_with_it(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    programs.ready(**SOON)
    timed = fleet.enqueue(Job("timed", "hist.deaf", (NEVER,), hard_timeout=2, max_retries=0))
    cancelled = fleet.enqueue(Job("cancelled", "hist.deaf", (NEVER,)))
    for job_id in (timed, cancelled):
        programs.history.await_start(job_id)

    fleet.cancel(cancelled, by="ann")

    results = settle_all(fleet, [timed, cancelled])
    assert results[timed].error_class == "timeout"
    assert results[cancelled].status is JobStatus.CANCELLED
    assert programs.history.starts() == {timed: 1, cancelled: 1}
    assert not raw.exists(LANE.runs, LANE.lease)
