"""A job learns that its worker drains, stops at its next checkpoint, and goes on in another worker."""

from __future__ import annotations

import signal

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.model.life import HANDED_BACK
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until


@pytest.mark.first(2)
@pytest.mark.parametrize("name", ["on_loop", "in_thread", "isolated", "isolated_async", "bare", "batch"])
def test_a_job_goes_on_in_another_worker(programs: Programs, fleet: Fleet, name: str) -> None:
    old = programs.ready("draining", grace=600)
    job_id = fleet.enqueue(Job("drain", f"drain.{name}", (1,) if name == "batch" else ()))
    wait_until(programs.told, timeout=LONG, why="it runs")

    old.send(signal.SIGTERM)

    assert old.exit_code() == 0
    assert fleet.poll(job_id).status is JobStatus.QUEUED
    assert fleet.poll(job_id).attempt == 0
    programs.ready("draining")
    assert fleet.wait(job_id, timeout=LONG).result == (7, 1)
    assert programs.told() == ["begin False"]
    details = fleet.details(job_id)
    assert (details.job.attempt, details.job.runs, details.job.error) == (1, 2, None)
    shown = details.life
    assert [(past.run, past.text) for past in shown] == [(1, HANDED_BACK), (2, "completed")]
    assert shown[0].worker != shown[1].worker == details.job.worker
    assert "job.retried" not in old.said
