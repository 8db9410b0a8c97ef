"""Steps, logs and resources of jobs that run in processes of their own."""

from __future__ import annotations

import signal

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Programs


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_step_is_not_done_again_after_the_process_died(programs: Programs, fleet: Fleet, is_killed: bool) -> None:
    programs.ready("contexts")

    job_id = fleet.enqueue(Job("order", "ctx.isolated", (is_killed,)))
    result = fleet.wait(job_id, timeout=LONG)

    assert (result.status, result.result) == (JobStatus.COMPLETED, "pool charge ship 3")
    assert [line for line in programs.told() if line in {"charge", "ship"}] == ["charge", "ship"]
    assert [line.text for line in fleet.logs(job_id)] == [
        "attempt 1", "through the library", "attempt 2", "through the library"
    ]  # fmt: skip


def test_resources_are_opened_once_a_process_and_closed_when_the_worker_drains(
    programs: Programs, fleet: Fleet
) -> None:
    worker = programs.ready("contexts", slots=1, spare_processes=0)

    ids = [fleet.enqueue(Job("order", "ctx.isolated_async")) for _ in range(3)]
    results = [fleet.wait(job_id, timeout=LONG).result for job_id in ids]

    assert results == ["pool file charge 7"] * 3
    pids = {line.text for job_id in ids for line in fleet.logs(job_id)}
    assert programs.told().count("open pool") == len(pids)
    assert programs.told().count("open file") == len(pids)

    worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert programs.told()[-2:] == ["close file", "close pool"]
