"""What `explain` tells of a job that runs, or has run when processes died."""

from __future__ import annotations

from dataclasses import replace

from jobfleet.model.explanation import ReasonCode
from tests.operations.explain.test_reasons import NOW, S, reasons, running, waiting


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
