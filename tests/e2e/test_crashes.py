"""A child that dies: its jobs are settled at once, and only the culprit is charged."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)


def test_a_job_that_kills_its_process_is_dead_after_three_crashes_alone(programs: Programs, fleet: Fleet) -> None:
    programs.ready("workers.demo", app_dir=".")

    job_id = fleet.enqueue(Job("die", "demo.die", (9,)))
    result = fleet.wait(job_id, timeout=LONG)

    assert result.status is JobStatus.FAILED
    assert (result.error_class, result.error) == ("crashed", "its process died of SIGKILL")
    assert [letter.id for letter in fleet.dead()] == [job_id]
    assert fleet.dead()[0].error_class == "crashed"


def test_neighbours_of_a_culprit_run_again_and_lose_nothing(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    culprit = fleet.enqueue(Job("kill", "hist.kill", (9,)))
    neighbours = [fleet.enqueue(Job("nap", "hist.nap", (1.0,), max_retries=0)) for _ in range(4)]
    programs.ready()

    results = settle_all(fleet, [*neighbours, culprit])

    assert results.pop(culprit).error_class == "crashed"
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {result.retry_count for result in results.values()} == {0}
    starts = programs.history.starts()
    assert starts[culprit] in {5, 6}, "twice in a child, perhaps once beside another suspect, three times alone"
    assert {starts[job_id] for job_id in neighbours} <= {2, 3, 4}
    for job_id in [*neighbours, culprit]:
        details = fleet.details(job_id)
        assert details.job.runs == starts[job_id], "nothing that happened is forgotten when a job ends"
        shown = details.life
        assert [past.run for past in shown] == [*range(1, starts[job_id] + 1)]
        assert all(past.worker and past.at and past.started_at and past.started_at <= past.at for past in shown)
    assert raw.hgetall(LANE.tries) == {}
    for job_id in [*neighbours, culprit]:
        fences = programs.history.fences(job_id)
        assert fences == sorted(set(fences))


def test_the_death_of_a_child_is_one_warning_however_many_jobs_ran_in_it(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    worker = programs.ready(slots=8, verbose=1)
    gate = tmp_path / "gate"
    ids = [fleet.enqueue(Job("gate", "hist.gate", (str(gate),))) for _ in range(8)]
    for job_id in ids:
        programs.history.await_start(job_id)

    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)

    worker.await_line("child.buried")
    gate.touch()
    settle_all(fleet, ids)
    warnings = [line for line in worker.said.splitlines() if " WARNING " in line]
    (line,) = (line for line in warnings if "child.buried" in line)
    words = "these jobs run again, except those that have failed"
    assert re.search(rf" jobs=8 functions=hist\.gate ids=(default\.0\.[0-9a-f]{{32}},){{3}}… {words}$", line), line
    assert [line for line in warnings if "job." in line] == []
    each = [line for line in worker.said.splitlines() if " DEBUG " in line and "job.reaped" in line]
    assert len(each) == 8
    assert all("function=hist.gate" in line and "7 other jobs ran in it" in line for line in each)


def test_a_charged_job_has_a_line_of_its_own(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready()

    job_id = fleet.enqueue(Job("leave", "hist.leave", (3, 9), max_crashes=1))
    fleet.wait(job_id, timeout=LONG)

    worker.await_line("child.buried")
    (line,) = [line for line in worker.said.splitlines() if job_id in line and "child.buried" not in line]
    assert f" ERROR   job.failed job_id={job_id} function=hist.leave " in line


@pytest.mark.parametrize(("code", "words"), [(3, "its process exited with code 3"), (0, "code 0"), (2, "code 2")])
def test_a_job_that_leaves_its_process_is_charged_a_crash(
    programs: Programs, fleet: Fleet, code: int, words: str
) -> None:
    programs.ready()

    job_id = fleet.enqueue(Job("leave", "hist.leave", (code, 9), max_crashes=2))

    result = fleet.wait(job_id, timeout=LONG)
    assert result.error_class == "crashed"
    assert words in (result.error or "")
    assert programs.history.starts()[job_id] == 2


def test_a_crash_costs_no_retry(programs: Programs, fleet: Fleet) -> None:
    programs.ready()

    job_id = fleet.enqueue(Job("leave", "hist.leave", (3, 2), max_retries=0))

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.status, result.result) == (JobStatus.COMPLETED, "attempt 3")


def test_a_child_that_is_killed_is_replaced_and_its_jobs_run_at_once(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(processes=2, slots=3, lease=600)  # a lease that nobody would wait for
    ids = [fleet.enqueue(Job("nap", "hist.nap", (1.0,))) for _ in range(6)]
    for job_id in ids:
        programs.history.await_start(job_id)
    victim = programs.history.runners(ids[0])[0]
    held = {job_id for job_id in ids if programs.history.runners(job_id) == [victim]}

    os.kill(victim, signal.SIGKILL)

    results = settle_all(fleet, ids)
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {result.retry_count for result in results.values()} == {0}
    assert {job_id for job_id, starts in programs.history.starts().items() if starts > 1} <= held
    assert len(worker.await_children(2)) == 2
    assert victim not in worker.children()


@pytest.mark.first(1)
@pytest.mark.parametrize("wards", [0, 2])
def test_suspects_do_not_hold_up_a_child_that_runs_a_long_job(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path, wards: int
) -> None:
    gate = tmp_path / "gate"
    programs.ready(suspect_processes=wards)
    long = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(long)
    fleet.pause("default")
    suspect = fleet.enqueue(Job("nap", "hist.nap", (0.1,)))
    raw.hset(LANE.tries, suspect, "0:0:0:0:2:1")
    fleet.resume("default")
    wait_until(
        lambda: raw.hexists(LANE.runs, suspect) or fleet.poll(suspect).status.is_final,
        timeout=LONG,
        why="the suspect is claimed",
    )
    plain = fleet.enqueue(Job("nap", "hist.nap", (0.1,)))

    try:
        # Where it has to be alone in the child, it is given up for a while.
        assert settle_all(fleet, [plain] if not wards else [plain, suspect], timeout=LONG)
        assert fleet.poll(long).status is JobStatus.RUNNING
    finally:
        gate.touch()
        settle_all(fleet, [long, suspect, plain])
