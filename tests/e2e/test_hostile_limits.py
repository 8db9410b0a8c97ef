"""Coroutines and threads that heed nothing, against limits, cancellation and the watch over hung children."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import redis

from jobfleet import ErrorType, Fleet, Job, JobResult, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Program, Programs, is_running, settle_all
from tests.support.waiting import wait_until

COMPLETED, FAILED, CANCELLED = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED
LANE = Keyspace("jobfleet").lane("default", 0)
GRACES = {"cancel_grace": 0.2, "stop_grace": 0.3, "grace": 3}
DEAF = [
    ("swallow_cancellation", None),
    ("swallow_exceptions", None),
    ("block_loop", 600.0),
    ("hold_gil", 600.0),
    ("block_signals", None),
]


def start(programs: Programs, **settings: object) -> tuple[Program, int]:
    """Start a worker with one child; answer both."""
    worker = programs.ready("histories", "workers.hostile", **{"lease": 600, **GRACES, **settings})
    (child,) = worker.await_children(1)
    return worker, child


def neighbours(programs: Programs, fleet: Fleet, seconds: float = 1.0) -> list[str]:
    """Jobs that run in the same child, and have begun."""
    ids: list[str] = [fleet.enqueue(Job("near", f"hist.{name}", (seconds,), max_retries=0)) for name in ("nap", "rest")]
    for job_id in ids:
        programs.history.await_start(job_id)
    return ids


def deaf_job(tmp_path: Path, function: str, argument: float | None, **options: object) -> Job:
    """A job that hears nothing."""
    given = str(tmp_path / "never") if argument is None else argument
    more = ("endless",) if function == "hold_gil" else ()
    return Job("deaf", f"hostile.{function}", (given, *more), max_retries=0, **options)  # type: ignore[arg-type]


def check_replaced(worker: Program, child: int, raw: redis.Redis, others: dict[str, JobResult[object]]) -> None:
    """The condemned child is gone, its successor alone is there, nothing is held, nobody else was charged."""
    assert {(one.status, one.retry_count) for one in others.values()} == {(COMPLETED, 0)}
    wait_until(lambda: not is_running(child), timeout=LONG, why="the condemned child has ended")
    wait_until(lambda: len(worker.children()) == 1, timeout=LONG, why="one child is left")
    assert not worker.is_over
    assert raw.zcard(LANE.lease) == raw.hlen(LANE.runs) == raw.hlen(LANE.tries) == 0


@pytest.mark.first(1)
@pytest.mark.parametrize(("function", "argument"), DEAF)
def test_a_job_past_its_hard_limit_condemns_its_child_and_nobody_else(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path, function: str, argument: float | None
) -> None:
    worker, child = start(programs)
    near = neighbours(programs, fleet)

    # What is told before it holds the GIL hears it.
    limits = {"timeout": 4, "hard_timeout": 5} if function == "hold_gil" else {"timeout": 0.5, "hard_timeout": 1.5}
    deaf = fleet.enqueue(deaf_job(tmp_path, function, argument, **limits))
    ended = fleet.wait(deaf, timeout=LONG)
    later = [fleet.enqueue(Job("later", "hist.nap", (0.1,))) for _ in range(3)]

    assert (ended.status, ended.error_class, ended.error_type) == (FAILED, "timeout", ErrorType.TRANSIENT)
    check_replaced(worker, child, raw, settle_all(fleet, [*near, *later]))
    in_place = function in {"swallow_cancellation", "swallow_exceptions"}  # the others hold up their neighbours, too
    starts = programs.history.starts()
    assert {starts[job_id] for job_id in near} <= ({1} if in_place else {1, 2})


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.first(1)
@pytest.mark.parametrize(("function", "argument"), DEAF)
def test_a_cancelled_job_that_heeds_nothing_is_cancelled_once_its_process_is_gone(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path, function: str, argument: float | None
) -> None:
    worker, child = start(programs)
    near = neighbours(programs, fleet)
    deaf = fleet.enqueue(deaf_job(tmp_path, function, argument))
    wait_until(lambda: fleet.poll(deaf).status is JobStatus.RUNNING, timeout=LONG, why="it runs")
    if function == "swallow_exceptions":  # what is told before it does hears it
        wait_until((tmp_path / "never.deaf").exists, timeout=LONG, why="it hears no exception")
    if function == "hold_gil":  # likewise
        before = cpu_of(child)
        wait_until(lambda: cpu_of(child) > before + 1.0, timeout=LONG, why="it computes")

    assert fleet.cancel(deaf, by="ann")

    while not (seen := fleet.poll(deaf)).status.is_final:
        assert (seen.status, seen.cancel_requested_by) == (JobStatus.RUNNING, "ann")
    assert seen.status is CANCELLED
    assert not is_running(child), "it is not called cancelled while it runs"
    check_replaced(worker, child, raw, settle_all(fleet, near))


@pytest.mark.first(1)
@pytest.mark.parametrize(("function", "seconds"), [("block_loop", 3.0), ("hold_gil", 4.0)])
def test_a_hung_child_is_shown_and_keeps_its_jobs(
    programs: Programs, fleet: Fleet, function: str, seconds: float
) -> None:
    worker, child = start(programs, hang_after=0.8, lease=3)
    near = neighbours(programs, fleet)

    held = fleet.enqueue(Job("hold", f"hostile.{function}", (seconds,)))
    results = settle_all(fleet, [held, *near])

    assert {(one.status, one.attempt) for one in results.values()} == {(COMPLETED, 1)}
    assert set(programs.history.starts().values()) == {1}
    assert worker.children() == [child]
    worker.await_line("child.hung")
    assert function in worker.said, "its stack is shown"


def test_a_hung_child_is_killed_where_that_is_wished_and_the_culprit_is_found(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    worker, child = start(programs, hang_after=0.8, hang_kill=1)
    near = neighbours(programs, fleet)

    held = fleet.enqueue(Job("hold", "hostile.block_loop", (600.0,), max_crashes=1))
    results = settle_all(fleet, [held, *near])

    assert (results[held].status, results[held].error_class) == (FAILED, "crashed")
    check_replaced(worker, child, raw, {job_id: results[job_id] for job_id in near})
