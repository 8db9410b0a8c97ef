"""A whole worker that is killed or frozen: leases run out, others take over, late writes are refused."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Program, Programs, is_running, settle_all
from tests.support.server import state_of
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)


def held_by(programs: Programs, worker: Program) -> set[str]:
    """The jobs whose last run was started by a worker."""
    family = set(worker.family())
    return {entry.id for entry in programs.history.entries() if entry.event == "start" and entry.pid in family}


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_jobs_of_a_killed_worker_are_completed_by_another(
    programs: Programs, fleet: Fleet, raw: redis.Redis, count: int
) -> None:
    first = programs.ready(processes=2, slots=count // 2, lease=6, gone_after=10)
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (3.0,)) for _ in range(count))]
    wait_until(lambda: len(programs.history.starts()) >= count // 2, timeout=LONG, why="half of the jobs run")
    second = programs.ready(processes=2, slots=count // 2, lease=6)
    lost = held_by(programs, first)

    first.send_all(signal.SIGKILL)

    results = settle_all(fleet, ids, timeout=100)
    assert lost
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    for job_id in ids:
        fences = programs.history.fences(job_id)
        assert fences == sorted(set(fences))
        assert results[job_id].result == fences[-1], "the last run's value stays"
    again = {job_id for job_id, starts in programs.history.starts().items() if starts > 1}
    assert again <= lost, "nobody else runs twice"
    assert fleet.statistics()["completed"] == count
    assert raw.hgetall(LANE.tries) == {}
    assert raw.zcard(LANE.lease) == raw.hlen(LANE.runs) == 0
    assert not second.is_over


def test_a_worker_frozen_past_its_lease_cannot_finish_late(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = programs.ready(lease=3)
    ids = [fleet.enqueue(Job("gate", "hist.gate", (str(gate),))) for _ in range(3)]
    threaded = fleet.enqueue(Job("door", "hist.door", (str(gate),)))
    for job_id in [*ids, threaded]:
        programs.history.await_start(job_id)
    programs.ready(lease=3)

    first.freeze_all()
    for job_id in [*ids, threaded]:
        programs.history.await_start(job_id, 2)
    gate.touch()
    results = settle_all(fleet, [*ids, threaded])
    first.send_all(signal.SIGCONT)
    first.await_line("job.lost", times=4)

    for job_id in [*ids, threaded]:
        fences = programs.history.fences(job_id)
        assert len(fences) == 2
        assert fences[0] < fences[1]
        assert results[job_id].fence == fleet.poll(job_id).fence == fences[1]
        assert fleet.poll(job_id).result == fences[1]
    assert fleet.statistics()["completed"] == 4
    assert not first.is_over


def test_a_frozen_worker_works_on_after_it_wakes(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(lease=3)
    children = worker.await_children(1)
    job_id = fleet.enqueue(Job("nap", "hist.nap", (0.5,)))
    programs.history.await_start(job_id)

    worker.freeze_all()
    worker.send_all(signal.SIGCONT)
    later = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))

    results = settle_all(fleet, [job_id, later])
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert programs.history.starts()[job_id] == 1
    assert worker.children() == children


def test_a_frozen_child_is_killed_after_one_lease_and_its_jobs_run_again(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(lease=3)
    (child,) = worker.await_children(1)
    ids = [fleet.enqueue(Job("gate", "hist.gate", (str(gate),))) for _ in range(3)]
    for job_id in ids:
        programs.history.await_start(job_id)

    os.kill(child, signal.SIGSTOP)
    wait_until(lambda: state_of(child) in {"T", "Z", ""}, timeout=LONG, why="it is frozen")
    gate.touch()

    worker.await_line("frozen for a lease")
    results = settle_all(fleet, ids)
    assert not is_running(child)
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {len(programs.history.fences(job_id)) for job_id in ids} == {2}


def test_a_child_that_is_frozen_briefly_keeps_its_jobs(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(lease=6)
    (child,) = worker.await_children(1)
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(job_id)

    os.kill(child, signal.SIGSTOP)
    worker.await_line("child.frozen")
    os.kill(child, signal.SIGCONT)
    gate.touch()

    assert fleet.wait(job_id, timeout=LONG).status is JobStatus.COMPLETED
    assert programs.history.starts()[job_id] == 1


def test_children_end_when_their_supervisor_is_killed(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("histories", processes=2, lease=6, with_reaper=1)
    reapers = wait_until(
        lambda: worker.children("jobfleet.services.main"), timeout=LONG, why="the hosted reaper is there"
    )
    ids = [fleet.enqueue(Job("nap", "hist.nap", (1.0,))) for _ in range(6)]
    for job_id in ids:
        programs.history.await_start(job_id)
    family = worker.await_children(2)

    worker.send(signal.SIGKILL)

    wait_until(lambda: not any(map(is_running, [*family, *reapers])), timeout=LONG, why="all its processes have ended")
    assert worker.family() == []
    results = [fleet.poll(job_id) for job_id in ids]
    assert {result.status for result in results} == {JobStatus.COMPLETED}
    assert set(programs.history.starts().values()) == {1}
    assert worker.said.count("worker.orphaned") == 2
    assert len(set(re.findall(r"worker\.orphaned child=(\S+\.\d) ", worker.said))) == 2


def test_an_orphan_claims_no_more_and_gives_back_what_does_not_end(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(lease=6)
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(job_id)

    worker.send(signal.SIGKILL)
    worker.await_line("worker.orphaned")
    later = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))
    wait_until(lambda: not worker.family(), timeout=LONG, why="the orphan has ended")
    before = (fleet.poll(job_id).status, fleet.poll(later).status)
    programs.ready()
    gate.touch()

    results = settle_all(fleet, [job_id, later])
    assert before == (JobStatus.QUEUED, JobStatus.QUEUED)
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {result.retry_count for result in results.values()} == {0}


def test_a_reaper_alone_settles_what_a_lost_machine_held(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    worker = programs.ready(lease=3, gone_after=2, beat=1)
    ids = [fleet.enqueue(Job("nap", "hist.nap", (600,), max_crashes=1)) for _ in range(2)]
    alone = fleet.enqueue(Job("urgent", "hist.nap", (600,), queue="other", max_crashes=1))
    for job_id in ids:
        programs.history.await_start(job_id)
    worker.send_all(signal.SIGKILL)
    assert fleet.poll(alone).status is JobStatus.QUEUED, "nobody serves that queue"

    programs.reaper()

    wait_until(lambda: raw.zcard(LANE.lease) == 0, timeout=LONG, why="no lease is left")
    assert {fleet.poll(job_id).status for job_id in ids} <= {JobStatus.QUEUED, JobStatus.RETRYING}
    assert not fleet.dead(), "which of the two it was is not known: nobody fails for it"


def test_each_expiry_is_handled_once_whoever_looks(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(lease=3, slots=40)
    ids = [fleet.enqueue(Job("gate", "hist.gate", (str(gate),))) for _ in range(40)]
    for job_id in ids:
        programs.history.await_start(job_id)
    watchers = [programs.reaper(reap_interval=0.05, verbose=1) for _ in range(2)]
    watchers += [programs.ready(lease=3, slots=40, verbose=1) for _ in range(2)]

    worker.send_all(signal.SIGKILL)
    gate.touch()

    results = settle_all(fleet, ids)
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert set(programs.history.starts().values()) == {2}
    said = "".join(watcher.said for watcher in watchers)
    assert {said.count(f"job.reaped job_id={job_id}") for job_id in ids} == {1}
    assert sum(map(int, re.findall(r"WARNING leases\.expired lane=\S+ child=\S+ jobs=(\d+)", said))) == 40
    statistics = fleet.statistics()
    assert (statistics["completed"], statistics["failed"]) == (40, 0)
