"""Signing is introduced, and keys are rotated, while jobs run: no step loses or refuses a job."""

from __future__ import annotations

from typing import Any

from jobfleet import Fleet, Job, JobStatus
from tests.trust.conftest import NEW, OLD, FleetWith, spelled

KEYS = spelled(old=OLD)


def run(producer: Fleet, worker: Fleet) -> None:
    job = producer.enqueue(Job("add", "app.add", (1, 2)))
    worker.run_worker(burst=True)
    assert producer.poll(job).result == 3


def test_signing_is_introduced_step_by_step(fleet_with: FleetWith) -> None:
    plain, accepts = fleet_with(), fleet_with(keyring=KEYS)
    sends, requires = (fleet_with(keyring=KEYS, sign=level) for level in ("send", "require"))
    run(plain, accepts)
    run(sends, accepts)
    run(accepts, sends)
    run(sends, sends)
    run(requires, sends)
    run(sends, requires)


def test_encryption_is_introduced_on_top(fleet_with: FleetWith) -> None:
    signs = fleet_with(keyring=KEYS, sign="require")
    sends = fleet_with(keyring=KEYS, sign="require", encrypt="send")
    run(signs, sends)
    run(sends, signs)
    requires = fleet_with(keyring=KEYS, encrypt="require")
    run(sends, requires)


def test_old_keys_are_accepted_and_uses_are_counted(fleet_with: FleetWith) -> None:
    before = fleet_with(keyring=KEYS, sign="require")
    waits = before.enqueue(Job("note", "app.add", (1, 2), delay=3600))
    after = fleet_with(keyring=spelled(new=NEW, old=OLD), sign="require")
    run(after, after)
    after.enqueue(Job("add", "app.add", (1, 2), delay=3600))
    fleet_with().enqueue(Job("add", "app.add", (1, 2), delay=3600))
    assert after.key_uses() == {"old": 1, "new": 1, "": 1}
    after.reschedule(waits, delay=0)
    after.run_worker(burst=True)
    assert after.poll(waits).result == 3


def test_a_job_that_moves_is_edited_or_displaced_is_signed_again(fleet_with: FleetWith, ran: list[Any]) -> None:
    fleet = fleet_with(keyring=KEYS, sign="require")
    moved = fleet.move(fleet.enqueue(Job("note", "app.note", ("moved",))), "other")
    edited = fleet.enqueue(Job("note", "app.note", ("wrong",)))
    assert fleet.edit(edited, args=("edited",))
    for text in ("first", "last"):
        fleet.enqueue(Job("note", "app.note", (text,), unique="u", delay=0.01, on_conflict="debounce"))
    for text in ("old", "new"):
        fleet.enqueue(Job("note", "app.note", (text,), unique="v", delay=0.01, on_conflict="replace"))
    fleet.cron.add("tick", "0 0 1 1 *", Job("tick", "app.note", ("tick",)))
    ticked = fleet.cron.run("tick")
    while any(fleet.poll(job).status is not JobStatus.COMPLETED for job in (moved, edited, ticked)) or len(ran) < 5:
        fleet.run_worker(burst=True, queues=["default", "other"])
        assert not fleet.dead()
    assert sorted(ran) == ["edited", "last", "moved", "new", "tick"]
