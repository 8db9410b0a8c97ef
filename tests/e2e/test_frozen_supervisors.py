"""A supervisor that is frozen alone: nobody renews the leases of its children, which go on."""

from __future__ import annotations

import signal
from pathlib import Path

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Program, Programs, settle_all
from tests.support.waiting import wait_until

LEASE = 3.0


def freeze(worker: Program) -> None:
    """Freeze the supervisor alone, and wait until its child has noticed."""
    worker.send(signal.SIGSTOP)
    worker.await_line("worker.unheard")


def test_a_child_whose_supervisor_is_frozen_claims_nothing_until_it_goes_on(programs: Programs, fleet: Fleet) -> None:
    frozen = programs.ready(lease=LEASE)
    (child,) = frozen.await_children(1)
    freeze(frozen)

    other = programs.ready(lease=LEASE)
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.0,)) for _ in range(30))]
    settle_all(fleet, ids)
    meanwhile = {entry.pid for entry in programs.history.entries()}
    other.close()
    frozen.send(signal.SIGCONT)
    last = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))
    result = fleet.wait(last, timeout=LONG)

    assert child not in meanwhile
    assert result.status is JobStatus.COMPLETED
    assert programs.history.runners(last) == [child]
    assert "worker.heard" in frozen.said


def test_a_job_whose_lease_expired_while_its_process_was_loading_is_not_started(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    (tmp_path / "held").touch()
    slow = programs.ready("slow_cells", lease=LEASE, slots=1, spare_processes=0, cancel_grace=60)
    job_id = fleet.enqueue(Job("run", "slow.run"))
    (loading,) = wait_until(lambda: list(tmp_path.glob("loading-*")), timeout=LONG, why="the process is loading")
    freeze(slow)
    (tmp_path / "held").unlink()

    other = programs.ready("slow_cells", lease=LEASE, slots=1, spare_processes=0)
    result = fleet.wait(job_id, timeout=LONG)
    other.close()
    (tmp_path / "open").touch()  # the modules are loaded by now
    slow.send(signal.SIGCONT)
    slow.await_line("job.lost")
    after = fleet.wait(fleet.enqueue(Job("run", "slow.run")), timeout=LONG)

    assert (result.status, after.status) == (JobStatus.COMPLETED, JobStatus.COMPLETED)
    assert programs.history.starts()[job_id] == 1
    assert programs.history.runners(job_id) != [int(loading.name.partition("-")[2])]
