"""Children whose event loop does not turn: seen, shown, counted, and killed only if so wished."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.model.result import ReasonCode
from jobfleet.store.calls import inspect
from tests.support.fleet import LONG, Program, Programs
from tests.support.waiting import wait_until

APP = """
import os, time
from pathlib import Path
from jobfleet import JobContext, job

@job(name="app.block", retry_delay=0.1)
async def block_until_there(ctx: JobContext, path: str) -> int:
    Path(path + f".started{ctx.attempt}").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return ctx.attempt
"""


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path / "gate"


def started(worker: Program, gate: Path, attempt: int = 1) -> None:
    mark = gate.with_name(f"gate.started{attempt}")
    wait_until(lambda: mark.exists() or worker.is_over, timeout=LONG, why=f"attempt {attempt} has started")


def test_a_blocked_loop_is_reported_once_with_its_stack_and_its_job_keeps_its_lease(
    programs: Programs, fleet: Fleet, tmp_path: Path, gate: Path
) -> None:
    worker = programs.ready("app", app_dir=tmp_path, lease=3, hang_after=0.5, beat=0.2)
    job_id = fleet.enqueue(Job("block", "app.block", (str(gate),)))
    started(worker, gate)
    (child,) = worker.children()

    worker.await_line("child.hung")
    worker.await_line("child.stacks")
    lane = fleet.context.keys.lane_of(job_id)
    deadlines: set[int] = set()

    def renewed() -> bool:
        deadlines.update(row.deadline for row in fleet.store.run(inspect.running(lane))[1])
        return len(deadlines) >= 5

    wait_until(renewed, timeout=LONG, why="the lease was renewed for long after it would have run out")
    assert [one.hung for one in fleet.workers()] == [1]
    waits = fleet.enqueue(Job("wait", "app.block", (str(gate),)))
    told = [{reason.code: reason.facts for reason in fleet.explain(one).reasons} for one in (job_id, waits)]
    assert told[0][ReasonCode.BLOCKING]["jobs"] == (job_id,)
    assert told[1].keys() == {ReasonCode.HUNG}
    assert told[1][ReasonCode.HUNG]["jobs"] == [job_id]
    assert all(facts["since"] >= 0.5 for one in told for facts in one.values() if "jobs" in facts)  # type: ignore[operator]
    gate.touch()

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.status, result.attempt, result.retry_count) == (JobStatus.COMPLETED, 1, 0)
    worker.await_line("child.turns again")
    said = worker.said
    assert re.search(rf"child\.hung child=\S+ pid={child} for=0\.\d+s holds {job_id}", said)
    assert re.search(rf"child\.stacks child=\S+ pid={child}\n.*in block_until_there", said, re.DOTALL)
    assert said.count("child.hung") == 1
    assert "child.killed" not in said
    assert fleet.wait(waits, timeout=LONG).status is JobStatus.COMPLETED
    wait_until(lambda: [one.hung for one in fleet.workers()] == [0], timeout=LONG, why="its presence says so")


def test_a_child_that_hangs_is_killed_if_so_wished_and_its_job_is_charged(
    programs: Programs, fleet: Fleet, tmp_path: Path, gate: Path
) -> None:
    worker = programs.ready("app", app_dir=tmp_path, hang_after=0.5, hang_kill=1, metrics_port=0, beat=0.2)
    job_id = fleet.enqueue(Job("block", "app.block", (str(gate),), max_crashes=3))
    (first,) = worker.children()
    started(worker, gate)
    wait_until(lambda: first not in worker.children(), timeout=LONG, why="the child is killed")
    started(worker, gate, 3)

    result = fleet.wait(job_id, timeout=LONG)

    assert result.status is JobStatus.FAILED
    assert result.error is not None
    assert re.search(r"its process hung for \d+\.\d s and was killed", result.error)
    assert fleet.letter(job_id).reason == "crashed"
    assert (worker.said.count("child.hung"), worker.said.count("ward.hung")) == (
        2,
        1,
    )  # after two deaths it is a suspect
    assert "Traceback" not in worker.said


def test_a_frozen_child_is_not_taken_for_one_that_hangs(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    worker = programs.ready(lease=1, hang_after=0.8)
    (child,) = worker.children()

    os.kill(child, signal.SIGSTOP)
    worker.await_line("frozen for a lease")
    worker.await_children(1, but=[child])

    assert "child.hung" not in worker.said


def test_a_whole_worker_that_was_frozen_accuses_no_child(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(lease=60, hang_after=1, beat=0.1, gone_after=1.5)
    worker.freeze_all()
    (name,) = [one.id for one in fleet.workers()]
    with Fleet(fleet.config.url, beat=0.1, gone_after=3) as near:  # three times what a hang takes
        wait_until(lambda: [one.is_gone for one in near.workers()] == [True], timeout=LONG, why="it was frozen long")

    worker.send_all(signal.SIGCONT)

    (confirmed,) = fleet.command_workers([name], "dump")
    assert confirmed.is_confirmed
    worker.await_line("child.stacks")
    assert "child.hung" not in worker.said


def test_a_module_that_takes_long_to_load_does_not_hang(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nfrom pathlib import Path\nwhile not Path(__file__).with_name('go').exists(): time.sleep(0.01)\n"
    )
    worker = programs.worker("slow", app_dir=tmp_path, hang_after=0.2, beat=0.1, gone_after=0.3)
    wait_until(worker.children, timeout=LONG, why="the child is there")
    beats: set[object] = set()

    def has_beaten() -> bool:
        beats.update(one.beat for one in fleet.workers())
        return len(beats) > 8

    wait_until(has_beaten, timeout=LONG, why="it has taken far longer than a hang")
    (tmp_path / "go").touch()

    wait_until(lambda: any(one.children for one in fleet.workers()), timeout=LONG, why="it is ready")
    assert "child.hung" not in worker.said
