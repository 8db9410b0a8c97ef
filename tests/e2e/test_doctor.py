"""`doctor` beside real workers: one that dies leaves nothing, neither before nor after its jobs are run again."""

from __future__ import annotations

import signal
from pathlib import Path

from jobfleet import Fleet, Job, JobStatus
from jobfleet.operations.doctor.findings import Level
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until


def said(fleet: Fleet, *checks: str) -> dict[str, Level]:
    """The levels of some checks."""
    return {one.check: one.level for one in fleet.doctor().findings if one.check in checks}


def has_nothing_running(fleet: Fleet) -> bool:
    """Whether no job runs; while some do, there must be no fault."""
    told = fleet.doctor()
    assert told.is_sound, str(told)
    return not fleet.statistics()["running"]


def test_a_worker_that_is_killed_with_unique_jobs_leaves_no_lock_and_nothing_unpaired(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    programs.reaper()
    worker = programs.ready(lease=6)
    gate = tmp_path / "gate"
    jobs = [fleet.enqueue(Job("gate", "hist.gate", (str(gate),), unique=f"gate-{n}")) for n in range(5)]
    queued = fleet.enqueue(Job("nap", "hist.nap", (0.0,), unique="nap", unique_for="queued", delay=1))
    for job_id in jobs:
        programs.history.await_start(job_id)
    wait_until(lambda: fleet.poll(queued).status.is_final, timeout=LONG, why="the short one has ended")
    told = fleet.doctor()
    assert told.is_sound, str(told)
    assert "5 unique keys; none is left" in str(told)
    assert said(fleet, "workers", "leases") == {"workers": Level.OK, "leases": Level.OK}

    worker.send_all(signal.SIGKILL)
    wait_until(lambda: has_nothing_running(fleet), timeout=LONG, why="its jobs are taken back")
    assert "5 unique keys; none is left" in str(fleet.doctor())

    programs.ready(lease=6)
    for job_id in jobs:
        programs.history.await_start(job_id, times=2)
    gate.touch()

    ended = settle_all(fleet, jobs)
    assert {one.status for one in ended.values()} == {JobStatus.COMPLETED}
    told = fleet.doctor()
    assert told.is_sound, str(told)
    assert "0 unique keys; none is left by a job that has ended." in str(told)
    quiet = said(fleet, "leases", "runs", "waiting", "lifetimes", "service", "functions", "outbox", "long")
    assert set(quiet.values()) == {Level.OK}, str(told)
