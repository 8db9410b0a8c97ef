"""The simulation of autoscaling: seeded, whole, and of the load that was recorded."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench.autoscale.__main__ import HEADS, RECORDED, main, policies
from bench.autoscale.loads import HOUR, LOADS, Arrival, recorded
from bench.autoscale.policies import Asked, Jobfleet, Length
from bench.autoscale.simulation import START, Figures, Simulation
from jobfleet.model.scale import Live, ScaleRule


def simulated(load: list[Arrival], seed: int = 3) -> Figures:
    policy = Jobfleet(ScaleRule(most=20))
    return Simulation(load, policy, slots=4, wait=30.0, chance=random.Random(seed)).run()


def test_a_seed_gives_the_same_figures_again(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--seeds", "1", "--first", "3", "--loads", "burst,recorded"]

    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    rows = first.splitlines()[2:]
    assert len(rows) == 2 * len(policies(10))
    assert all(row.count("|") == len(HEADS) + 1 for row in rows)


def test_one_job_wakes_a_worker_which_goes_after_it() -> None:
    found = simulated([Arrival(100.0, 2.0)])

    assert (found.jobs, found.unfinished, found.flaps, found.interrupted) == (1, 0, 0, 0)
    assert START[0] <= found.p95 <= START[1] + 15
    assert found.worker_seconds < 60  # it ends with the last job


def test_jobs_that_fail_run_again_until_they_end() -> None:
    found = simulated([Arrival(10.0, 30.0, 3), Arrival(10.0, 1.0)])

    assert (found.jobs, found.unfinished) == (2, 0)
    assert found.worker_seconds > 4 * 30 + 70


@pytest.mark.parametrize("name", LOADS)
def test_each_load_has_jobs_of_one_hour_in_order(name: str) -> None:
    jobs = LOADS[name](random.Random(5))

    assert len(jobs) > 50
    assert [job.due for job in jobs] == sorted(job.due for job in jobs)
    assert all(0 <= job.due < HOUR and job.duration > 0 for job in jobs)


def test_the_recorded_load_has_as_many_jobs_as_were_enqueued(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text(
        '{"step": 10.0, "run": null, "points": ['
        '{"at": "2026-01-01T00:00:00+00:00", "enqueued": 3, "run": {"p50": 1.0, "p95": 2.0}},'
        '{"at": "2026-01-01T00:00:10+00:00", "enqueued": null, "run": null},'
        '{"at": "2026-01-01T00:00:20+00:00", "enqueued": 2, "run": null}]}'
    )

    jobs = recorded(trace)(random.Random(1))

    assert [int(job.due // 10) for job in jobs] == [0, 0, 0, 2, 2]
    assert recorded(RECORDED)(random.Random(1))


def test_the_length_of_a_queue_asks_at_once_and_removes_after_five_minutes() -> None:
    policy = Length(10, 20, counts_running=False)

    def ask(at: float, waiting: int, current: int) -> int:
        return policy.workers(Asked(at, [], Live(waiting=waiting, running=9), current))

    assert ask(0, 95, 0) == 10
    assert ask(100, 0, 10) == 10
    assert ask(301, 0, 10) == 0
    assert Length(4, 20, counts_running=True).workers(Asked(0, [], Live(waiting=3, running=9), 0)) == 3
