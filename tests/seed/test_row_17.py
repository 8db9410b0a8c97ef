"""Row 17: a cron job that cleans up, enqueued like any other."""

from __future__ import annotations

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobNotFound, JobStatus, enqueue, poll, wait
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until


def test_a_recurring_job_is_enqueued_like_any_other_and_cleans_up(programs: Programs, redis_url: str) -> None:
    windows = {"patience": 0.5, "dedupe_window": 1, "own_id_window": 1}
    programs.ready("seeds", **windows)
    programs.reaper(**windows)
    with Fleet(redis_url) as fleet:
        old = fleet.wait(fleet.enqueue(Job(name="Sum", function="seed.add", args=(1, 2))), timeout=LONG).id

        fleet.enqueue(
            Job(
                name="Cleanup old results",
                function="jobfleet.maintenance.cleanup",
                kwargs={"days": 0},
                cron_expression="* * * * * *",
            )
        )

        wait_until(lambda: is_gone(fleet, old), timeout=LONG, why="its result has gone")
        (entry,) = fleet.cron()
        assert (entry.name, entry.function) == ("Cleanup-old-results", "jobfleet.maintenance.cleanup")


def is_gone(fleet: Fleet, job_id: str) -> bool:
    try:
        fleet.poll(job_id)
    except JobNotFound:
        return True
    return False


def test_the_built_in_job_runs_by_hand_too(fleet: Fleet, programs: Programs) -> None:
    programs.ready("seeds")
    job_id = enqueue(Job(name="Cleanup", function="jobfleet.maintenance.cleanup", kwargs={"days": 30}))

    assert wait(job_id, timeout=LONG).result == {"results": 0}


def test_the_nightly_entry_of_the_document(fleet: Fleet) -> None:
    job_id = enqueue(Job(name="Cleanup", function="jobfleet.maintenance.cleanup", cron_expression="0 2 * * *"))

    (entry,) = fleet.cron()
    assert (entry.name, entry.cron.expression, job_id.startswith("default.0.cron")) == ("Cleanup", "0 2 * * *", True)
    assert entry.next is not None


def test_the_bare_lambda_of_the_document_is_refused_and_the_way_out_named(fleet: Fleet) -> None:
    with pytest.raises(InvalidJob) as caught:
        enqueue(Job(name="Cleanup", function=lambda: None, cron_expression="0 2 * * *"))

    assert str(caught.value) == (
        "Job 'Cleanup' has a lambda; workers find functions by name. Use a module-level def with @job, or "
        'register_job_function("name", fn). To clean up, function="jobfleet.maintenance.cleanup" is built in.'
    )
    assert fleet.cron() == []


def test_an_ended_job_that_is_not_old_stays(fleet: Fleet, programs: Programs) -> None:
    programs.ready("seeds")
    done = wait(enqueue(Job(name="Sum", function="seed.add", args=(1, 2))), timeout=LONG)

    wait(enqueue(Job(name="Cleanup", function="jobfleet.maintenance.cleanup")), timeout=LONG)

    assert (poll(done.id).status, poll(done.id).result) == (JobStatus.COMPLETED, 3)
