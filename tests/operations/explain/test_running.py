"""What `explain` tells of a job that runs, or has run when processes died."""

from __future__ import annotations

from dataclasses import replace

from jobfleet import JobStatus
from jobfleet.model.result import ReasonCode
from jobfleet.store.calls.run import Awaited
from tests.operations.explain.test_reasons import NOW, S, ended, reasons, running, texts, waiting


def test_a_worker_nobody_has_heard_of_is_gone_without_a_time() -> None:
    told = reasons(replace(running(), workers=()))[ReasonCode.WORKER_GONE]

    assert told.text == "Its worker box:11:aa is gone; the job is run again when its lease has ended."


def test_a_lease_that_is_not_judged_yet_says_until_when() -> None:
    told = reasons(running(deadline=NOW - 2 * S, hold=NOW + 15 * S))

    assert told[ReasonCode.RUNNING].text == "Running for 3 min on box:11:aa.2, run 2."
    assert told[ReasonCode.LEASE_EXPIRED].text == (
        "Its lease ended 2 s ago: the next worker or reaper that looks takes it back, in 15 s at the soonest, "
        "since nobody looked for a while."
    )


def test_a_suspect_that_waits_is_told_of_while_it_is_not_due() -> None:
    assert reasons(waiting(5, tries="0:1:0:0:3:1"))[ReasonCode.SUSPECT].text == (
        "A suspect: it has witnessed 3 deaths of a process, the last as one of 1. It runs alone in a process, and may "
        "wait for a place."
    )
    assert ReasonCode.SUSPECT not in reasons(waiting(0, tries="0:1:0:0:3:1"))


def test_the_lock_for_which_a_job_waits_comes_first() -> None:
    seen = replace(running(), awaited=Awaited(7, NOW - 12 * S, 1, "crm", ("mail.0.b",)))

    assert list(reasons(seen))[:2] == [ReasonCode.LOCK, ReasonCode.RUNNING]


def test_a_lock_that_nobody_holds_any_more_names_nobody_and_that_of_an_earlier_run_is_not_named() -> None:
    nobody = replace(running(), awaited=Awaited(7, NOW - 12 * S, 1, "crm", ()))
    earlier = replace(running(), awaited=Awaited(6, NOW - 12 * S, 1, "crm", ()))

    assert reasons(nobody)[ReasonCode.LOCK].text == "Waits for the lock 'crm' (limit 1) for 12 s."
    assert ReasonCode.LOCK not in reasons(earlier)


def test_nobody_in_particular_is_not_named() -> None:
    assert reasons(running(cancel="-", cancel_at=NOW - S))[ReasonCode.CANCELLING].text.startswith(
        "Asked to stop 1 s ago"
    )
    assert texts(ended(JobStatus.CANCELLED, worker="w.1")) == ["Cancelled 3 min ago, while it ran on w.1."]
