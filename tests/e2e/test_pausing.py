"""A function that is paused, with real workers: none of its jobs starts, no other waits, none is lost or run twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.calls.control import resume_function
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.groups import faults
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)


def nap(**options: object) -> Job:
    return Job("nap", "hist.nap", (0,), **options)  # type: ignore[arg-type]


def rest(**options: object) -> Job:
    return Job("rest", "hist.rest", (0,), **options)  # type: ignore[arg-type]


def withheld(raw: redis.Redis) -> int:
    """Jobs that were set aside so far."""
    count = raw.hget(LANE.totals, "withheld")
    return int(count) if isinstance(count, bytes) else 0


def await_withheld(raw: redis.Redis, count: int) -> None:
    wait_until(lambda: withheld(raw) >= count, timeout=LONG, why=f"{count} jobs are set aside")


def test_nothing_of_it_starts_what_runs_ends_and_others_are_not_held_up(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path
) -> None:
    programs.ready(processes=2, slots=3)
    gate = tmp_path / "gate"
    running = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(running)

    assert fleet.pause(function="hist.gate", by="ann", reason="the gate is broken") is True
    assert fleet.pause("default", function="hist.nap", by="ann") is True
    late = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    held = [receipt.id for receipt in fleet.enqueue_many(nap() for _ in range(300))]
    behind = [receipt.id for receipt in fleet.enqueue_many(rest() for _ in range(30))]
    assert {job.status for job in settle_all(fleet, behind).values()} == {JobStatus.COMPLETED}
    gate.touch()
    settle_all(fleet, [running])
    await_withheld(raw, 301)

    starts = programs.history.starts()
    assert not starts.keys() & {late, *held}
    assert {job.status for job in fleet.poll_many([late, *held]) if job} == {JobStatus.QUEUED}
    assert withheld(raw) == 301, "each was claimed once, and no more"
    (queue,) = [one for one in fleet.queues() if one.name == "default"]
    assert (queue.queued, queue.scheduled, queue.running) == (301, 0, 0)
    assert [(one.function, one.by, one.reason) for one in queue.paused_functions] == [
        ("hist.gate", "ann", "the gate is broken"), ("hist.nap", "ann", ""),
    ]  # fmt: skip

    assert fleet.resume(function="hist.nap") is True
    settle_all(fleet, held)
    assert programs.history.starts()[late] == 0
    assert fleet.resume(function="hist.gate") is True
    settle_all(fleet, [late])

    assert set(programs.history.starts().values()) == {1}
    assert fleet.resume(function="hist.gate") is False
    assert raw.hgetall(LANE.conf) == {}


def test_jobs_that_were_set_aside_keep_their_order(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    programs.ready(slots=1)
    fleet.pause(function="hist.nap", by="ann")
    held = [fleet.enqueue(nap()) for _ in range(20)]
    await_withheld(raw, 20)

    fleet.resume(function="hist.nap")
    settle_all(fleet, held)

    assert [entry.id for entry in programs.history.entries() if entry.event == "start" and entry.id in held] == held


def test_what_is_set_aside_can_be_explained_cancelled_moved_and_expires(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    programs.ready(slots=4)
    programs.reaper(reap_interval=0.2)
    fleet.pause(function="hist.nap", by="ann", reason="too loud")
    kept, gone, moved = (fleet.enqueue(nap()) for _ in range(3))
    expiring = fleet.enqueue(nap(expires_in=1.5))
    await_withheld(raw, 3)

    text = str(fleet.explain(kept))
    assert text.startswith("Function 'hist.nap' was paused by ann ")
    assert text.endswith(" ago (too loud); 'jobfleet queues resume default --function hist.nap' lets it go on.")
    assert fleet.cancel(gone, by="bob") is True
    assert fleet.poll(gone).error == "cancelled by bob"
    new = fleet.move(moved, "urgent")
    wait_until(lambda: fleet.poll(expiring).status is JobStatus.EXPIRED, timeout=LONG, why="it was not started in time")
    assert {job.id for job in fleet.jobs(status=JobStatus.QUEUED).jobs} == {kept, new}

    fleet.resume(function="hist.nap")
    settle_all(fleet, [kept, new])
    assert programs.history.starts().keys() & {kept, gone, moved, expiring, new} == {kept, new}


def test_jobs_of_groups_give_their_slots_to_others_and_come_back_to_their_groups(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    fleet.enqueue(rest(group="warm-up"))
    fleet.limits.set("default", group="*", concurrency=1)
    fleet.pause(function="hist.nap", by="ann", reason="too loud")
    tenants = ["acme", "zeta", "acme", "zeta"]
    held = [fleet.enqueue(nap(group=tenant, tags=(tenant,))) for tenant in tenants]
    others = [fleet.enqueue(rest(group=tenant)) for tenant in tenants]
    programs.ready(processes=2, slots=3)
    settle_all(fleet, others)
    await_withheld(raw, 4)
    wait_until(lambda: not raw.exists(LANE.held), timeout=LONG, why="no slot is taken")

    assert faults(raw, LANE) == []
    assert str(fleet.explain(held[2])).startswith("Function 'hist.nap' was paused by ann ")
    assert [job.id for job in fleet.jobs(tags="acme", status=JobStatus.QUEUED).jobs] == [held[2], held[0]]
    assert fleet.cancel_many(tags="zeta", by="bob") == 2

    assert fleet.resume(function="hist.nap") is True
    settle_all(fleet, [held[0], held[2]])
    wait_until(lambda: not raw.exists(LANE.held), timeout=LONG, why="all is settled")

    starts = programs.history.starts()
    assert {job_id: starts[job_id] for job_id in held} == {held[0]: 1, held[1]: 0, held[2]: 1, held[3]: 0}
    assert faults(raw, LANE) == []
    assert raw.exists(LANE.grouped, LANE.ring) == 0


def test_a_worker_that_is_killed_while_it_sets_jobs_aside_loses_none(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    workers = [programs.ready(processes=2, slots=2, lease=6) for _ in range(2)]
    fleet.pause(function="hist.nap", by="ann")
    held = [receipt.id for receipt in fleet.enqueue_many(nap() for _ in range(2000))]
    await_withheld(raw, 200)
    for pid in workers[0].children():
        os.kill(pid, signal.SIGKILL)
    workers[1].send_all(signal.SIGKILL)

    wait_until(lambda: not raw.zcard(LANE.lease), timeout=LONG, why="nothing is held any more")
    fleet.resume(function="hist.nap")
    results = settle_all(fleet, held)

    assert {job.status for job in results.values()} == {JobStatus.COMPLETED}
    assert programs.history.starts() == dict.fromkeys(held, 1)


def test_a_resume_that_died_half_way_is_finished_by_whoever_ticks(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    programs.ready()
    wait_until(lambda: "default" in {queue.name for queue in fleet.queues()}, timeout=LONG, why="the queue is there")
    fleet.pause("default", function="hist.nap", by="ann")
    held = [fleet.enqueue(nap()) for _ in range(5)]
    await_withheld(raw, 5)

    assert fleet.store.run(resume_function(LANE, "hist.nap")) is True  # and no more: its operator's machine is gone

    settle_all(fleet, held)
    wait_until(lambda: raw.hgetall(LANE.conf) == {}, timeout=LONG, why="it is noted that all were put back")
