"""Row 17: a cron job that cleans up, enqueued like any other."""

from __future__ import annotations

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobStatus, enqueue, get_job_manager, poll, wait
from jobfleet.maintenance import cleanup
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until


def test_a_recurring_job_is_enqueued_like_any_other_fired_and_run(fleet: Fleet, programs: Programs) -> None:
    programs.ready("seeds")
    programs.reaper()

    enqueue(
        Job(
            name="Cleanup old results",
            function="jobfleet.maintenance.cleanup",
            kwargs={"days": 30},
            cron_expression="* * * * * *",
        )
    )

    (fire, *_) = wait_until(lambda: fleet.cron.history("Cleanup-old-results"), timeout=LONG, why="it is fired")
    assert wait(str(fire.job_id), timeout=LONG).status is JobStatus.COMPLETED
    (entry,) = fleet.cron()
    assert (entry.name, entry.function) == ("Cleanup-old-results", "jobfleet.maintenance.cleanup")


def test_the_nightly_entry_of_the_document(fleet: Fleet) -> None:
    job_id = enqueue(Job(name="Cleanup", function="jobfleet.maintenance.cleanup", cron_expression="0 2 * * *"))

    (entry,) = fleet.cron()
    assert (entry.name, entry.cron.expression, job_id.startswith("default.0.cron")) == ("Cleanup", "0 2 * * *", True)
    assert entry.next is not None


def test_what_failed_goes_and_what_is_young_stays(fleet: Fleet, programs: Programs) -> None:
    programs.ready("seeds")
    done = wait(enqueue(Job(name="Sum", function="seed.add", args=(1, 2))), timeout=LONG)
    wait(enqueue(Job(name="Raise", function="seed.raise", args=("ValueError",))), timeout=LONG)

    with pytest.raises(InvalidJob, match="runs only as a recurring job: give cron_expression"):
        enqueue(Job(name="Cleanup", function="jobfleet.maintenance.cleanup", kwargs={"days": 0}))
    enqueue(
        Job(name="Cleanup", function="jobfleet.maintenance.cleanup", kwargs={"days": 0}, cron_expression="0 2 * * *")
    )
    kept = wait(fleet.cron.run("Cleanup", by="ann"), timeout=LONG)
    assert (kept.status, len(fleet.dead())) == (JobStatus.COMPLETED, 1), "ages are at least those of the settings"
    gone = cleanup(days=0)

    assert isinstance(kept.result, dict)
    assert (kept.result["dead_letters"], gone["dead_letters"], fleet.dead()) == (0, 1, [])
    assert (poll(done.id).status, poll(done.id).result) == (JobStatus.COMPLETED, 3)
    assert [one.by for one in fleet.audit(action="fleet.clean").entries][1:] == ["cron Cleanup"]


def test_the_manager_deletes_old_results(fleet: Fleet, programs: Programs) -> None:
    programs.ready("seeds")
    done = wait(enqueue(Job(name="Sum", function="seed.add", args=(1, 2))), timeout=LONG)

    assert (get_job_manager().cleanup_old_results(days=1), poll(done.id).result) == (0, 3)


def test_the_bare_lambda_of_the_document_is_refused_and_the_way_out_named(fleet: Fleet) -> None:
    with pytest.raises(InvalidJob) as caught:
        enqueue(Job(name="Cleanup", function=lambda: None, cron_expression="0 2 * * *"))

    assert str(caught.value).startswith("Job 'Cleanup' has a lambda; workers find functions by name.")
    assert "jobfleet.maintenance.cleanup" in str(caught.value)
    assert fleet.cron() == []
