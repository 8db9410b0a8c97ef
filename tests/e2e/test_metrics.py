"""What the endpoints of real workers and reapers tell while things go wrong."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jobfleet import Fleet, Job
from jobfleet.metrics.catalog import CATALOG
from jobfleet.metrics.tally import LABEL_SETS
from tests.support.fleet import LONG, Program, Programs, settle_all
from tests.support.scraping import probe, samples, value
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

QUICK: dict[str, object] = {"metrics_port": 0, "healthy_within": 3, "beat": 0.2}


def run_jobs(fleet: Fleet, count: int) -> None:
    settle_all(fleet, [fleet.enqueue(Job("nap", "hist.nap", (0.0,))) for _ in range(count)])


def completed(worker: Program) -> float:
    return value(worker, "jobs_finished_total", outcome="completed")


def test_a_child_that_is_killed_takes_no_count_along_and_leaves_none_behind(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(processes=2, metrics_port=0)
    run_jobs(fleet, 30)
    wait_until(lambda: completed(worker) == 30, timeout=LONG, why="all are counted")
    (victim, other) = worker.await_children(2)

    os.kill(victim, signal.SIGKILL)
    worker.await_children(1, but=[victim, other])
    wait_until(lambda: value(worker, "worker_children") == 2, timeout=LONG, why="its successor is there")
    assert completed(worker) == 30
    run_jobs(fleet, 12)

    wait_until(lambda: completed(worker) == 42, timeout=LONG, why="all are counted")
    assert value(worker, "jobs_started_total") == 42
    assert value(worker, "child_crashes_total") == 1
    assert value(worker, "worker_slots_used") == 0
    assert value(worker, "worker_resident_memory_bytes") > 20 * 1024**2
    assert 0 <= value(worker, "worker_cpu_ratio") < 100


def test_every_ending_is_counted_as_what_became_of_it(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    worker = programs.ready(metrics_port=0)
    gate = fleet.enqueue(Job("gate", "hist.gate", (str(tmp_path / "never"),)))
    programs.history.await_start(gate)
    run_jobs(fleet, 4)
    settle_all(fleet, [fleet.enqueue(Job("raise", "hist.raise", ("no",), max_retries=2))])
    snooze = fleet.enqueue(Job("snooze", "hist.snooze", (str(tmp_path / "file"),)))
    programs.history.await_start(snooze)
    (tmp_path / "file").touch()
    settle_all(fleet, [snooze])
    assert fleet.cancel(gate)
    settle_all(fleet, [gate])

    def outcomes() -> dict[str, float]:
        found: dict[str, float] = {}
        for labels, number in samples(worker, "jobs_finished_total"):
            found[labels["outcome"]] = found.get(labels["outcome"], 0) + number
        return found

    snoozed = float(programs.history.starts()[snooze] - 1)
    wanted = {"completed": 5.0, "retried": 2.0, "failed": 1.0, "released": snoozed, "cancelled": 1.0}
    wait_until(lambda: outcomes() == wanted, timeout=LONG, why=f"{wanted} is told")
    assert value(worker, "jobs_started_total") == sum(wanted.values())
    assert value(worker, "job_duration_seconds_count") == sum(wanted.values())
    assert value(worker, "job_duration_seconds_count", outcome="completed") == 5
    assert value(worker, "jobs_retried_total", reason="error") == 2
    ((labels, number),) = samples(worker, "jobs_dead_lettered_total")
    assert (labels["reason"], number) == ("error", 1)


def test_a_hosted_reaper_that_is_killed_takes_no_count_along(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(with_reaper=1, metrics_port=0)

    def turns() -> float:
        return value(worker, "reaper_runs_total", duty="cron")

    wait_until(lambda: turns() >= 2, timeout=LONG, why="the reaper reports")
    (victim,) = worker.children("jobfleet.services.main")
    before = turns()
    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: [pid for pid in worker.children("jobfleet.services.main") if pid != victim], timeout=LONG, why="another"
    )

    assert turns() >= before
    wait_until(lambda: turns() > before, timeout=LONG, why="the new one reports, too")
    wait_until(lambda: probe(worker, "/healthz").status == 200, timeout=LONG, why="all is well")
    assert {"cron", "leases", "relay", "retention"} <= probe(worker, "/healthz").body["duties"].keys()


def test_a_worker_that_neither_claims_nor_waits_is_unwell_until_it_does(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(**QUICK)
    assert probe(worker, "/healthz").status == 200
    assert probe(worker, "/readyz").status == 200

    job_id = fleet.enqueue(Job("block", "hist.block", (6.0,)))

    found = wait_until(
        lambda: answer if (answer := probe(worker, "/healthz")).status == 503 else None, timeout=LONG, why="it says so"
    )
    assert found is not None
    assert found.body["status"] == "unwell"
    (wrong,) = found.body["wrong"]
    assert wrong.startswith("No child has claimed or waited for jobs for ")
    assert value(worker, "jobs_finished_total") == 0  # metrics are served all the same
    settle_all(fleet, [job_id])
    wait_until(lambda: probe(worker, "/healthz").status == 200, timeout=LONG, why="it is well again")


def test_a_worker_whose_slots_are_taken_is_well(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(slots=1, **QUICK)
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(job_id)
    wait_until(lambda: value(worker, "worker_slots_used") == 1, timeout=LONG, why="it is full")

    statuses, until = set(), time.monotonic() + 4
    while time.monotonic() < until:
        statuses.add(probe(worker, "/healthz").status)

    assert statuses == {200}
    gate.touch()
    settle_all(fleet, [job_id])


def test_a_quiet_worker_is_well_and_not_ready(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(**QUICK)
    worker.send(signal.SIGTSTP)

    found = wait_until(
        lambda: answer if (answer := probe(worker, "/readyz")).status == 503 else None, timeout=LONG, why="it says so"
    )
    assert found is not None
    assert found.body["wrong"] == ["It is quiet and claims nothing."]
    assert probe(worker, "/healthz").status == 200
    worker.send(signal.SIGCONT)
    wait_until(lambda: probe(worker, "/readyz").status == 200, timeout=LONG, why="it is ready again")


def test_while_redis_is_away_a_worker_is_well_and_nothing_old_is_told(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer
) -> None:
    worker = own_programs.ready(socket_timeout=0.5, **QUICK)
    reaper = own_programs.reaper(socket_timeout=0.5, **QUICK)
    run_jobs(own_fleet, 5)
    wait_until(lambda: completed(worker) == 5, timeout=LONG, why="all are counted")
    assert value(reaper, "jobs_ended_total", state="completed") == 5

    own_server.pause()
    try:
        for program in (worker, reaper):
            wait_until(lambda: probe(program, "/readyz").status == 503, timeout=LONG, why="it is not ready")  # noqa: B023
        wait_until(
            lambda: probe(reaper, "/healthz").body["duties"]["cron"]["seconds_since_good_turn"] > 4,
            timeout=LONG,
            why="its duties have not turned for longer than healthy_within",
        )
        wait_until(
            lambda: "has not answered" in probe(worker, "/healthz").body["redis"], timeout=LONG, why="it is noticed"
        )
        assert (probe(worker, "/healthz").status, probe(reaper, "/healthz").status) == (200, 200)
        assert probe(reaper, "/healthz").body["redis"] == "does not answer"
        assert completed(worker) == 5
        assert samples(reaper, "redis_up") == [({"namespace": "jobfleet"}, 0.0)]
        wait_until(lambda: value(reaper, "redis_errors_total") > 0, timeout=LONG, why="it is counted")
        assert samples(reaper, "jobs") == samples(reaper, "jobs_ended_total") == []
        assert value(reaper, "reaper_runs_total") > 0
        assert "Redis" in probe(worker, "/readyz").body["wrong"][0]
    finally:
        own_server.resume()

    for program in (worker, reaper):
        wait_until(lambda: probe(program, "/readyz").status == 200, timeout=LONG, why="it is ready")  # noqa: B023
        wait_until(lambda: probe(program, "/healthz").status == 200, timeout=LONG, why="it is well")  # noqa: B023
    wait_until(
        lambda: value(reaper, "jobs_ended_total", state="completed") == 5, timeout=LONG, why="it reads the fleet again"
    )
    assert value(reaper, "redis_up") == 1


def test_ten_scrapers_cost_one(programs: Programs, fleet: Fleet) -> None:
    reaper = programs.reaper(metrics_port=0)
    run = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))
    assert run

    def reads() -> float:
        return value(reaper, "redis_command_duration_seconds_count", script="counts")

    before, began = reads(), time.monotonic()
    with ThreadPoolExecutor(10) as scrapers:
        list(scrapers.map(lambda _: reads(), range(50)))
    after, seconds = reads(), time.monotonic() - began

    assert after - before <= seconds + 2


def test_functions_that_nobody_knows_do_not_make_the_exposition_grow(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(metrics_port=0, slots=100)
    count = LABEL_SETS + 100
    for receipt in fleet.enqueue_many(Job("odd", f"nobody.knows_{n}") for n in range(count)):
        assert receipt.error is None

    def folded(name: str) -> float:
        return sum(number for labels, number in samples(worker, name) if labels["function"] == "other")

    # Not the sum of all: the first ones may be tried again before the last ones are enqueued.
    wait_until(lambda: folded("jobs_finished_total") >= 100, timeout=LONG, why="each of the rest is counted")

    for name in ("jobs_finished_total", "jobs_started_total"):
        assert len(samples(worker, name)) == LABEL_SETS + 1
        assert folded(name) >= 100, "each of the rest, and again when it was tried again"
    assert value(worker, "labels_folded_total", metric="jobs_finished_total") > 0
    assert {labels["metric"] for labels, _ in samples(worker, "labels_folded_total")} <= set(CATALOG)
