"""States, priorities, and the table of transitions as a closed graph."""

from __future__ import annotations

from jobfleet import JobStatus, Priority
from jobfleet.model import FINAL, OPEN, STORED, TRANSITIONS, WAITING, Transition
from jobfleet.store.script import load, names
from tests.support.each import each

WAYS_IN = ["enqueue", "block", "fire"]


def reachable() -> set[JobStatus]:
    found: set[JobStatus] = set()
    while True:
        steps = [row for row in TRANSITIONS if not row.sources or row.sources & found]
        wider = found.union(*(row.targets for row in steps))
        if wider == found:
            return found
        found = wider


def test_statuses_are_upper_case_with_lower_case_values() -> None:
    assert {status.name: status.value for status in JobStatus} == {
        "BUFFERED": "buffered",
        "BLOCKED": "blocked",
        "SCHEDULED": "scheduled",
        "QUEUED": "queued",
        "RUNNING": "running",
        "RETRYING": "retrying",
        "COMPLETED": "completed",
        "FAILED": "failed",
        "CANCELLED": "cancelled",
        "EXPIRED": "expired",
    }


def test_a_status_equals_its_value() -> None:
    assert [status == status.value == str(status) == f"{status}" for status in JobStatus] == [True] * len(JobStatus)


def test_every_stored_status_is_waiting_running_or_final() -> None:
    sets = [WAITING, frozenset({JobStatus.RUNNING}), FINAL]

    assert sorted(status for one in sets for status in one) == sorted(STORED)
    assert set(JobStatus) - set(STORED) == {JobStatus.BUFFERED}
    assert WAITING | {JobStatus.RUNNING} == OPEN
    assert {status for status in JobStatus if status.is_final} == FINAL
    assert {status for status in JobStatus if status.is_waiting} == WAITING


def test_every_stored_status_is_reachable() -> None:
    assert reachable() == set(STORED)


def test_no_way_leads_out_of_a_final_status_but_the_replay_of_a_failed_one() -> None:
    leaving = {(row.verb, source) for row in TRANSITIONS for source in row.sources & FINAL}

    assert leaving == {("replay", JobStatus.FAILED)}


def test_a_way_leads_out_of_every_open_status() -> None:
    assert {source for row in TRANSITIONS for source in row.sources} >= OPEN


def test_only_a_claim_leads_into_a_run_and_only_enqueueing_comes_from_nowhere() -> None:
    assert [row.verb for row in TRANSITIONS if JobStatus.RUNNING in row.targets] == ["claim"]
    assert [row.verb for row in TRANSITIONS if not row.sources] == WAYS_IN
    assert {row.event for row in TRANSITIONS if not row.sources} == {"enqueued"}


def test_verbs_and_events_are_told_once_and_scripts_exist() -> None:
    told = [row for row in TRANSITIONS if row.sources and row.verb != "move"]  # which is heard as cancelled
    assert len({row.verb for row in TRANSITIONS}) == len(TRANSITIONS)
    assert len({row.event for row in told}) == len(told)
    assert {row.script for row in TRANSITIONS} <= set(names())


@each("row", TRANSITIONS)
def test_the_script_of_a_transition_emits_its_event(row: Transition) -> None:
    assert row.event in load(row.script).header.emits


def test_priorities_are_ordered_and_each_has_a_band() -> None:
    assert sorted(Priority) == [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.CRITICAL]
    assert [priority.band for priority in sorted(Priority, reverse=True)] == [0, 1, 2, 3]
