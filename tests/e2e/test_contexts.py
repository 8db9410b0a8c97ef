"""Steps, logs, hooks and resources in real workers, whose processes die."""

from __future__ import annotations

import os
import signal

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.calls.run import steps
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until


@pytest.mark.parametrize("name", ["ctx.leaving", "ctx.leaving_thread"])
def test_a_step_is_not_done_again_after_the_process_left(programs: Programs, fleet: Fleet, name: str) -> None:
    programs.ready("contexts")

    job_id = fleet.enqueue(Job("order", name, (False,)))
    wait_until(lambda: list(fleet.logs(job_id)), timeout=LONG, why="its log is written")
    (programs.folder / "gate").touch()
    result = fleet.wait(job_id, timeout=LONG)

    assert (result.status, result.result) == (JobStatus.COMPLETED, "charge ship")
    assert programs.told() == ["charge", "ship"]
    assert [line.text for line in fleet.logs(job_id)] == ["attempt 1", "attempt 2"]


@pytest.mark.parametrize("name", ["ctx.leaving", "ctx.leaving_thread"])
def test_a_step_is_not_done_again_after_the_process_was_killed(programs: Programs, fleet: Fleet, name: str) -> None:
    worker = programs.ready("contexts")
    (child,) = worker.await_children(1)
    job_id = fleet.enqueue(Job("order", name, (True,)))
    wait_until(lambda: list(fleet.logs(job_id)), timeout=LONG, why="its log is written")
    wait_until(lambda: programs.told() == ["charge"], timeout=LONG, why="the first step was done")
    kept = steps(fleet.context.keys.lane_of(job_id), job_id)
    wait_until(lambda: fleet.store.run(kept), timeout=LONG, why="its result is kept")

    os.kill(child, signal.SIGKILL)
    result = fleet.wait(job_id, timeout=LONG)

    assert (result.status, result.result) == (JobStatus.COMPLETED, "charge ship")
    assert programs.told() == ["charge", "ship"]


def test_the_child_of_a_cancelled_run_is_not_ended_while_its_hooks_run(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("contexts", cancel_grace=0.2, stop_grace=0.2)
    job_id = fleet.enqueue(Job("lingering", "ctx.lingering"))
    wait_until(lambda: programs.told() == ["run"], timeout=LONG, why="it runs")

    assert fleet.cancel(job_id, by="ann")

    assert fleet.wait(job_id, timeout=LONG).status is JobStatus.CANCELLED
    assert programs.told() == ["run", "after Cancelled", "lingered"]
    assert "child.condemned" not in worker.said


def test_hooks_are_called_in_the_child(programs: Programs, fleet: Fleet) -> None:
    programs.ready("contexts")

    result = fleet.wait(fleet.enqueue(Job("hooked", "ctx.hooked")), timeout=LONG)

    assert result.status is JobStatus.FAILED
    assert programs.told() == ["before 1", "on_failure ValueError('no luck')", "after Raised"]


def test_resources_are_opened_once_a_child_and_closed_when_it_drains(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("contexts")
    ids = [fleet.enqueue(Job("pooled", "ctx.pooled")) for _ in range(5)]

    results = [fleet.wait(job_id, timeout=LONG).result for job_id in ids]
    worker.send(signal.SIGTERM)

    assert results == ["pool file"] * 5
    assert worker.exit_code() == 0
    assert programs.told() == ["open pool", "open file", "close file", "close pool"]


def test_both_ways_of_logging_are_kept_by_default(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("contexts")

    job_id = fleet.enqueue(Job("chatty", "ctx.chatty"))
    fleet.wait(job_id, timeout=LONG)

    assert [line.text for line in fleet.logs(job_id)] == ["through the context", "through the library"]
    worker.await_line("through the context")
