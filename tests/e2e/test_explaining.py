"""What `explain` says of real workers, and what they do with jobs that are rescheduled and moved."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobStatus, Priority
from jobfleet.model.result import Reason
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until


def nap(**options: Any) -> Job:
    return Job("nap", "hist.nap", (0,), **options)


def told(fleet: Fleet, job_id: str) -> dict[str, Reason]:
    return {str(reason.code): reason for reason in fleet.explain(job_id).reasons}


def await_codes(fleet: Fleet, job_id: str, *codes: str) -> dict[str, Reason]:
    """Wait until the reasons are these; answer them."""

    def found() -> dict[str, Reason]:
        seen = told(fleet, job_id)
        return seen if list(seen) == list(codes) else {}

    try:
        return wait_until(found, timeout=LONG, why=f"{job_id} is explained by {codes}")
    except AssertionError as error:
        raise AssertionError(f"{error}; it says: {fleet.explain(job_id)}") from None


def test_a_job_that_nobody_serves_and_one_whose_function_nobody_knows(programs: Programs, fleet: Fleet) -> None:
    lonely = fleet.enqueue(nap(queue="lonely", delay=600))
    assert list(told(fleet, lonely)) == ["scheduled", "unknown-function", "unserved"]
    worker = programs.ready()

    reasons = await_codes(fleet, lonely, "scheduled", "unserved")
    assert f"there are {fleet.workers()[0].id} (default, urgent)" in reasons["unserved"].text
    assert worker.pid == fleet.workers()[0].pid

    misspelt = fleet.enqueue(Job("nap", "hist.nab", (0,)))
    text = await_codes(fleet, misspelt, "parked")["parked"].text
    assert "no worker knows 'hist.nab'; did you mean 'hist.nap'? Tried again" in text


def test_a_job_behind_others_in_front_of_a_busy_worker_that_goes_quiet(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(slots=1, beat=0.2)
    first = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(first)
    urgent, second, third = (fleet.enqueue(nap(priority=p)) for p in (Priority.HIGH, None, None))

    reasons = await_codes(fleet, third, "busy", "behind")
    assert reasons["busy"].text == "No free slot: 1 of 1 are taken at 1 worker that could run it."
    assert reasons["behind"].facts == {"ahead": 2, "more_urgent": 1, "same": 1}
    assert list(told(fleet, urgent)) == ["busy"]

    worker.send(signal.SIGTSTP)
    assert "is quiet" in await_codes(fleet, urgent, "quiet")["quiet"].text
    worker.send(signal.SIGCONT)
    fleet.pause("default", by="ann")
    await_codes(fleet, urgent, "paused", "busy")
    gate.touch()
    await_codes(fleet, urgent, "paused")
    fleet.resume("default")

    settle_all(fleet, [first, urgent, second, third])
    assert list(told(fleet, third)) == ["completed"]


def test_a_job_that_runs_is_asked_to_stop_and_loses_its_worker(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    worker = programs.ready(lease=6, beat=0.2, gone_after=1)
    job_id = fleet.enqueue(Job("stubborn", "hist.stubborn", (str(tmp_path / "never"),)))
    programs.history.await_start(job_id)
    with Fleet(fleet.config.url, beat=0.2, gone_after=1) as near:
        running = await_codes(near, job_id, "running")["running"]
        assert running.facts["child"] == f"{near.workers()[0].id}.1"
        assert running.facts["run"] == 1

        near.cancel(job_id, by="ann")
        assert "Asked to stop by ann" in await_codes(near, job_id, "running", "cancelling")["cancelling"].text

        worker.close()
        await_codes(near, job_id, "running", "cancelling", "worker-gone")
        await_codes(near, job_id, "running", "cancelling", "worker-gone", "lease-expired")
        programs.reaper(reap_interval=0.2)
        assert "Cancelled by ann" in await_codes(near, job_id, "cancelled")["cancelled"].text


def test_a_job_that_failed_waits_for_its_retry_and_runs_when_it_is_hurried(programs: Programs, fleet: Fleet) -> None:
    programs.ready()
    job_id = fleet.enqueue(Job("x", "hist.raise", ("no luck",), max_retries=1, retry_delay=600))

    reason = await_codes(fleet, job_id, "retrying")["retrying"]
    assert reason.text.startswith("Waiting for retry 1 of 1, due in ")
    assert reason.text.endswith("; its last run: RuntimeError: no luck.")

    assert fleet.reschedule(job_id, delay=0)
    assert fleet.wait(job_id, timeout=LONG).status is JobStatus.FAILED
    assert "on run 2: RuntimeError: no luck" in told(fleet, job_id)["failed"].text


def test_an_idle_worker_is_woken_for_what_is_rescheduled(programs: Programs, fleet: Fleet) -> None:
    programs.ready()
    ids = [fleet.enqueue(nap(delay=3600, tags=("later",))) for _ in range(60)]

    assert fleet.reschedule_many(tags=["later"], delay=0) == 60

    assert {result.status for result in settle_all(fleet, ids).values()} == {JobStatus.COMPLETED}
    assert set(programs.history.starts().values()) == {1}


@pytest.mark.parametrize("many", [False, True])
def test_a_job_that_moves_while_workers_are_at_it_runs_once(programs: Programs, fleet: Fleet, many: bool) -> None:
    """Nothing is lost, and nothing runs twice, whether a job was moved before a worker took it or not."""
    programs.ready(slots=2)
    total = 100
    ids = [fleet.enqueue(nap(tags=("some",))) for _ in range(total)]

    if many:
        fleet.move_many("urgent", tags=["some"], by="ann")
    else:
        for job_id in ids:
            try:
                fleet.move(job_id, "urgent", by="ann")
            except ValueError:
                continue

    ended = settle_all(fleet, ids)
    moved = [result.moved_to for result in ended.values() if result.moved_to is not None]
    settle_all(fleet, moved)
    stayed = [job_id for job_id, result in ended.items() if result.status is JobStatus.COMPLETED]
    assert len(moved) + len(stayed) == total
    assert programs.history.starts() == dict.fromkeys([*moved, *stayed], 1)
