"""``jobfleet worker --chaos``: a real worker that breaks itself, what it reports, and who warns of it."""

from __future__ import annotations

import re

from jobfleet import Fleet, Job, JobStatus
from jobfleet.operations.doctor.findings import Level
from tests.support.fleet import Programs
from tests.support.waiting import wait_until


def test_a_worker_with_chaos_reports_its_faults_and_loses_no_job(programs: Programs, fleet: Fleet) -> None:
    ids = [fleet.enqueue(Job("nap", "hist.nap", (0.005,))) for _ in range(40)]

    worker = programs.start("worker", "histories", "-p1", "-c2", "--burst", "--chaos", "10%", "--chaos-seed", "3")

    assert worker.exit_code() == 0
    assert {fleet.poll(job_id).status for job_id in ids} == {JobStatus.COMPLETED}
    said = worker.said
    assert "WARNING chaos.on rate=10% seed=3 " in said
    faults = re.findall(r"WARNING chaos\.(kill|claim|settle|keep) child=\S+ jobs=\S+", said)
    (injected,) = re.findall(r"chaos\.report injected: (.+)", said)
    counted = {kind: int(count) for kind, count in re.findall(r"(\w+) (\d+)", injected)}
    assert counted == {kind: faults.count(kind) for kind in sorted(set(faults))}
    assert counted.get("kill", 0) >= 1
    assert "child.died" not in said
    (row,) = re.findall(r"chaos\.report function=hist\.nap (.+)", said)
    assert re.fullmatch(r"jobs=(\d+) .*completed=\1 most_attempts=1", row)


def test_such_a_worker_is_seen_and_doctor_warns(programs: Programs, fleet: Fleet) -> None:
    worker = programs.start("worker", "histories", "-p1", "-c1", "--chaos", "1%")

    wait_until(fleet.workers, timeout=30.0, why="the worker has announced itself")

    assert [one.chaos for one in fleet.workers()] == [0.01]
    (finding,) = [one for one in fleet.doctor().findings if one.check == "workers"]
    assert (finding.level, "on purpose" in finding.seen) == (Level.WARNING, True)
    assert not worker.is_over


def test_only_the_flag_turns_chaos_on(programs: Programs, fleet: Fleet) -> None:
    worker = programs.start("worker", "histories", "-p1", chaos="1%")

    assert worker.exit_code() == 2
    assert "chaos = 0.01 comes from JOBFLEET_CHAOS; only the flag --chaos injects faults" in worker.said
    assert fleet.workers() == []


def test_a_seed_without_chaos_is_refused(programs: Programs, fleet: Fleet) -> None:
    worker = programs.start("worker", "histories", "-p1", "--chaos-seed", "7")

    assert worker.exit_code() == 2
    assert "--chaos-seed is given without --chaos" in worker.said
    assert fleet.workers() == []
