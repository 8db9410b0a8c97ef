"""A function that no worker knows: its job is parked with a warning and a count, then it is dead; it is never lost."""

from __future__ import annotations

import re
import signal
import urllib.request

import pytest

from jobfleet import Fleet, Job, JobStatus, Priority
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until


def test_a_job_that_nobody_knows_is_parked_counted_and_then_dead(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(unknown_grace=1, metrics_port=0)

    job_id = fleet.enqueue(Job("odd", "hist.npa"))
    worker.await_line("Goes to the dead letters")

    result = fleet.wait(job_id, timeout=LONG)
    letter = fleet.letter(job_id)
    assert (result.status, result.retry_count, letter.reason) == (JobStatus.FAILED, 0, "unknown-function")
    assert re.search(rf"Parked {re.escape(job_id)}: .*'hist\.npa'.*Goes to the dead letters in 1 s\.", worker.said)
    port = re.search(r"metrics\.serving port=(\d+)", worker.said)
    assert port

    def counts() -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=10) as answer:
            return [
                line for line in answer.read().decode().splitlines() if re.match(r"jobfleet_jobs_\w+_total\{", line)
            ]

    wait_until(
        lambda: any("dead_lettered" in line and "unknown-function" in line for line in counts()),
        timeout=LONG,
        why="its end is counted",
    )
    assert any('outcome="parked"' in line and "finished" in line for line in counts())


def test_enqueue_warns_at_once(programs: Programs, fleet: Fleet) -> None:
    programs.ready()

    with pytest.warns(UserWarning, match=r"No worker has published 'hist\.npa'; did you mean 'hist\.nap'\?"):
        fleet.enqueue(Job("odd", "hist.npa"))


def test_a_parked_job_runs_when_a_worker_comes_that_knows_it(programs: Programs, fleet: Fleet) -> None:
    (programs.folder / "late.py").write_text(
        "from jobfleet import job\n\n\n@job(name='late.run')\ndef run() -> int:\n    return 7\n"
    )
    old = programs.ready()
    job_id = fleet.enqueue(Job("late", "late.run"))
    old.await_line("Parked")

    old.send(signal.SIGTERM)
    assert old.exit_code() == 0
    programs.ready("late", app_dir=programs.folder)

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.status, result.result, result.retry_count) == (JobStatus.COMPLETED, 7, 0)


def test_parked_jobs_run_by_priority_when_a_worker_comes_that_knows_them(programs: Programs, fleet: Fleet) -> None:
    """The new worker publishes its functions while its child starts, which must not take them for those of another."""
    order = programs.folder / "order"
    (programs.folder / "late.py").write_text(
        "from jobfleet import job\n\n\n@job(name='late.run')\ndef run(number: int) -> None:\n"
        f"    with open({str(order)!r}, 'a') as file:\n        file.write(str(number))\n"
    )
    old = programs.ready()
    ids = []
    for number in (0, 3, 1, 2):
        some = [Job("late", "late.run", (number,), priority=Priority(number)) for _ in range(10)]
        ids += [one.id for one in fleet.enqueue_many(some)]
    wait_until(lambda: all(fleet.poll(job_id).parked_since for job_id in ids), timeout=LONG, why="all are parked")

    old.send(signal.SIGTERM)  # it might hold some of them just when they return
    assert old.exit_code() == 0
    for at, job_id in enumerate(ids):  # as if they were parked again and again; the LOW ones would come back first
        fleet.reschedule(job_id, delay=1 + at / 10)
    programs.ready("late", app_dir=programs.folder, slots=1, processes=1)
    settle_all(fleet, ids)

    assert order.read_text() == "3" * 10 + "2" * 10 + "1" * 10 + "0" * 10
