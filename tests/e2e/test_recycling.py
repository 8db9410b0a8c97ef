"""Children that are replaced in good health: after so many jobs, when too large, when too old."""

from __future__ import annotations

import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.scraping import samples, value
from tests.support.waiting import wait_until

BALLOON = """
import os
from jobfleet import job

KEPT = []

@job(name="app.grow")
def grow(mebibytes):
    KEPT.append(bytearray(os.urandom(1) * (mebibytes << 20)))
    return os.getpid()
"""


@contextmanager
def never_without_a_child(fleet: Fleet) -> Iterator[list[int]]:
    """Look all the time at how many children claim, by the worker's own account; it must never say none."""
    seen: list[int] = []
    over = threading.Event()

    def look() -> None:
        with Fleet(fleet.config.url) as own:
            while not over.wait(0.005):
                seen.extend(one.children for one in own.workers())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    assert seen
    assert min(seen) >= 1


def test_a_child_runs_no_more_than_its_jobs_and_none_is_lost(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(slots=4, max_jobs=10, processes=2, beat=0.1)
    with never_without_a_child(fleet):
        ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.01,)) for _ in range(100))]
        results = settle_all(fleet, ids)

    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {(result.attempt, result.retry_count) for result in results.values()} == {(1, 0)}
    assert set(programs.history.starts().values()) == {1}
    by_child = Counter(entry.pid for entry in programs.history.entries() if entry.event == "start")
    assert max(by_child.values()) <= 10
    assert len(by_child) >= 10
    assert re.search(r"child\.recycled child=\S+ reason=jobs", worker.said)
    assert "child.died" not in worker.said


def test_a_long_job_may_end_in_a_child_that_is_replaced(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(slots=2, max_jobs=10, grace=0.1)
    long = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    (first,) = programs.history.await_start(long)
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.01,)) for _ in range(12))]

    settle_all(fleet, ids)
    wait_until(lambda: set(worker.children()) - {first}, timeout=LONG, why="the successor is there")
    gate.touch()

    result = fleet.wait(long, timeout=LONG)
    assert (result.status, result.attempt, result.retry_count) == (JobStatus.COMPLETED, 1, 0)
    assert programs.history.runners(long) == [first]
    wait_until(lambda: first not in worker.children(), timeout=LONG, why="then it goes")


def test_too_many_that_retire_make_the_eldest_end_in_its_grace(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(slots=2, max_jobs=5, grace=0.1)
    long = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(long)

    ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.01,)) for _ in range(20))]
    settle_all(fleet, ids)
    programs.history.await_start(long, times=2)
    gate.touch()

    result = fleet.wait(long, timeout=LONG)
    assert (result.status, result.retry_count) == (JobStatus.COMPLETED, 0)
    assert "child.died" not in worker.said


def test_a_child_that_has_grown_too_large_is_replaced(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(BALLOON)
    worker = programs.ready("app", app_dir=tmp_path, max_memory="200MiB", beat=0.1)
    with never_without_a_child(fleet):
        (first,) = worker.await_children(1)
        assert fleet.wait(fleet.enqueue(Job("g", "app.grow", (1,))), timeout=LONG).result == first

        fleet.enqueue(Job("g", "app.grow", (200,)))
        worker.await_children(1, but=[first])
        wait_until(lambda: first not in worker.children(), timeout=LONG, why="the large one has gone")
        assert fleet.wait(fleet.enqueue(Job("g", "app.grow", (1,))), timeout=LONG).result != first

    assert "reason=memory" in worker.said
    assert "child.died" not in worker.said


def test_a_child_that_is_too_large_from_the_start_is_not_replaced_without_end(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(max_memory="1MiB")

    worker.await_line("exceeds max_memory from its start")
    worker.await_line("reason=memory", times=2)

    assert worker.said.count("exceeds max_memory from its start") == 1
    job_id = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))
    assert fleet.wait(job_id, timeout=LONG).status is JobStatus.COMPLETED


def test_children_that_are_too_old_are_replaced_one_by_one(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(max_age=2, processes=2, slots=2, beat=0.1)
    first = worker.await_children(2)
    with never_without_a_child(fleet):
        ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.1,)) for _ in range(60))]
        results = settle_all(fleet, ids)
        wait_until(lambda: not set(first) & set(worker.children()), timeout=LONG, why="the first ones have gone")

    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert set(programs.history.starts().values()) == {1}
    assert "reason=age" in worker.said


def test_a_child_whose_successor_cannot_start_stays(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(BALLOON)
    worker = programs.ready("app", app_dir=tmp_path, max_age=1)
    (tmp_path / "app.py").write_text(BALLOON + "\n1 / 0\n")

    worker.await_line("child.refused")
    later = worker.children()

    assert later  # who was the child may have been replaced before the code broke
    assert fleet.wait(fleet.enqueue(Job("g", "app.grow", (1,))), timeout=LONG).result in later
    assert "stays, because its successor cannot start" in worker.said
    assert "ZeroDivisionError" in worker.said
    assert not worker.is_over


def test_recycled_children_are_counted_by_reason(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(max_jobs=3, slots=1, beat=0.2, metrics_port=0)
    settle_all(fleet, [fleet.enqueue(Job("nap", "hist.nap", (0.0,))) for _ in range(6)])
    worker.await_line("reason=jobs")

    wait_until(
        lambda: value(worker, "child_recycles_total", reason="jobs") >= 1,
        timeout=LONG,
        why="they are counted",
    )
    assert samples(worker, "child_hangs_total") == [({"namespace": "jobfleet"}, 0.0)]


@pytest.mark.first(1)
@pytest.mark.parametrize("setting", [{"max_jobs": 3}, {"max_age": 1}, {"max_memory": "1MiB"}])
def test_a_burst_ends_nevertheless(programs: Programs, fleet: Fleet, setting: dict[str, object]) -> None:
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.1,)) for _ in range(40))]

    worker = programs.worker(processes=2, slots=2, burst=1, **setting)

    assert worker.exit_code() == 0
    assert {fleet.poll(job_id).status for job_id in ids} == {JobStatus.COMPLETED}
    assert set(programs.history.starts().values()) == {1}
    assert worker.family() == []


def test_a_signal_ends_those_that_retire_too(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    worker = programs.ready(slots=2, max_jobs=3, grace=0.2)
    long = fleet.enqueue(Job("gate", "hist.gate", (str(tmp_path / "never"),)))
    (first,) = programs.history.await_start(long)
    settle_all(fleet, [fleet.enqueue(Job("nap", "hist.nap", (0.0,))) for _ in range(2)])
    worker.await_children(1, but=[first])

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    result = fleet.poll(long)
    assert (result.status, result.retry_count) == (JobStatus.QUEUED, 0)
    assert worker.family() == []
