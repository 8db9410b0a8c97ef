"""The manager: every verb of the user's document, over a real server, with its worker in this process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobfleet
from jobfleet import Fleet, Job, JobConfig, JobManager, JobStatus, Priority, ProgressCallback, get_job_manager
from jobfleet.errors import ConfigError, StoreUnavailable
from jobfleet.fleet import default
from jobfleet.functions.registry import Registry
from jobfleet.model import STORED
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fleet(redis_url: str, registry: Registry) -> Iterator[Fleet]:
    with Fleet(redis_url, registry=registry, lease=6, patience=1, dedupe_window=1.5, own_id_window=1.5) as fleet:
        yield fleet


@pytest.fixture
def manager(fleet: Fleet) -> Iterator[JobManager]:
    manager = JobManager(fleet=fleet)
    yield manager
    manager.shutdown(timeout=0)


def test_a_lambda_and_a_function_that_was_never_registered_run(manager: JobManager, registry: Registry) -> None:
    registry.register(lambda x: x * 2, name="test.double")
    manager.start(workers=2)

    ids = [manager.enqueue(Job("Double", "test.double", (21,))), manager.enqueue(Job("Plain", plain, (5,)))]

    assert [manager.wait(job_id, timeout=20).result for job_id in ids] == [42, 6]


def plain(x: int) -> int:
    return x + 1


def test_nothing_starts_by_itself(manager: JobManager) -> None:
    before = set(threading.enumerate())

    job_id = manager.enqueue(Job("Plain", plain, (1,)))

    assert manager.poll(job_id).status is JobStatus.QUEUED
    assert (set(threading.enumerate()) - before, manager.is_running) == (set(), False)
    assert manager.statistics()["workers"] == 0


def test_it_is_there_when_start_returns_and_starting_twice_is_harmless(manager: JobManager) -> None:
    manager.start(workers=3)
    manager.start(workers=3)

    (worker,) = manager.fleet.workers()
    assert (worker.pid, worker.slots, manager.is_running) == (os.getpid(), 3, True)
    with pytest.raises(ConfigError, match=r"^It runs already, with workers=3; call shutdown\(\) first\.$"):
        manager.start(workers=4)


def test_so_many_jobs_run_at_once_and_no_more(manager: JobManager, registry: Registry) -> None:
    gate, running = threading.Event(), threading.Semaphore(0)

    def wait_for_it() -> None:
        running.release()
        gate.wait(20)

    registry.register(wait_for_it, name="test.wait")
    manager.start(workers=2)
    ids = [manager.enqueue(Job("Wait", "test.wait")) for _ in range(3)]

    assert all(running.acquire(timeout=20) for _ in range(2))
    assert [manager.poll(job_id).status for job_id in ids] == [JobStatus.RUNNING, JobStatus.RUNNING, JobStatus.QUEUED]
    gate.set()
    assert {manager.wait(job_id, timeout=20).status for job_id in ids} == {JobStatus.COMPLETED}


def test_progress_is_seen_while_a_job_runs(manager: JobManager, registry: Registry) -> None:
    gate = threading.Event()

    def report(progress_callback: ProgressCallback) -> None:
        progress_callback(0.5, "Computing", {"rows": 7})
        gate.wait(20)

    registry.register(report, name="test.report")
    manager.start(workers=1)
    job_id = manager.enqueue(Job("Report", "test.report"))

    seen = wait_until(lambda: job if (job := manager.poll(job_id)).progress else None, timeout=20, why="it reports")

    assert seen is not None
    assert (seen.progress, seen.progress_message, seen.progress_details) == (0.5, "Computing", {"rows": 7})
    gate.set()
    assert manager.wait(job_id, timeout=20).status is JobStatus.COMPLETED


def test_shutdown_lets_a_job_end_within_its_timeout(manager: JobManager, registry: Registry) -> None:
    begun = threading.Event()

    def linger() -> str:
        begun.set()
        threading.Event().wait(0.3)
        return "done"

    registry.register(linger, name="test.linger")
    manager.start(workers=1)
    job_id = manager.enqueue(Job("Linger", "test.linger"))
    assert begun.wait(20)

    manager.shutdown(timeout=20)

    assert (manager.poll(job_id).result, manager.is_running, manager.fleet.workers()) == ("done", False, [])
    manager.shutdown()


def test_what_does_not_end_in_time_is_given_back_and_run_by_the_next(manager: JobManager, registry: Registry) -> None:
    begun, gate = threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        while not gate.wait(0.01):
            pass
        return "done"

    registry.register(hold, name="test.hold")
    manager.start(workers=1)
    job_id = manager.enqueue(Job("Hold", "test.hold"))
    assert begun.wait(20)

    manager.shutdown(timeout=0)

    given_back = manager.poll(job_id)
    assert (given_back.status, given_back.retry_count) == (JobStatus.QUEUED, 0)
    gate.set()
    manager.start(workers=1)
    assert manager.wait(job_id, timeout=20).result == "done"


def test_a_queue_whose_function_is_registered_later_is_served(manager: JobManager, registry: Registry) -> None:
    manager.start(workers=1)
    registry.register(lambda: "later", name="test.later", queue="later")

    assert manager.wait(manager.enqueue(Job("Later", "test.later")), timeout=20).result == "later"


def test_recurring_jobs_and_dependants_run_without_a_reaper(manager: JobManager, registry: Registry) -> None:
    ran = threading.Event()
    registry.register(ran.set, name="test.tick")
    registry.register(lambda: 1, name="test.one")
    manager.start(workers=1)

    manager.enqueue(Job("Every second", "test.tick", cron_expression="* * * * * *"))
    parent = manager.enqueue(Job("One", "test.one", delay=0.2))
    child = manager.enqueue(Job("After", "test.one", depends_on=[parent]))

    assert manager.wait(child, timeout=20).status is JobStatus.COMPLETED
    assert ran.wait(20)
    assert [entry.name for entry in manager.fleet.cron()] == ["Every-second"]


def test_a_decorators_recurring_job_and_a_plain_coroutine_run(manager: JobManager, registry: Registry) -> None:
    ran = threading.Event()
    registry.register(ran.set, name="test.every_second", cron="* * * * * *")
    manager.start(workers=1)

    assert manager.wait(manager.enqueue(Job("Triple", triple, (2,))), timeout=20).result == 6
    assert ran.wait(20)


async def triple(x: int) -> int:
    return x * 3


def test_pending_jobs_come_by_urgency(manager: JobManager) -> None:
    parent = manager.enqueue(Job("low", plain, (1,), priority=Priority.LOW))
    manager.enqueue(Job("later", plain, (1,), delay=60))
    manager.enqueue(Job("normal", plain, (1,)))
    manager.enqueue(Job("after", plain, (1,), depends_on=[parent]))
    manager.enqueue(Job("of a group", plain, (1,), group="tenant-7"))
    manager.enqueue(Job("critical", plain, (1,), priority=Priority.CRITICAL))

    found = manager.get_pending_jobs()

    assert [(job.name, job.status.value) for job in found] == [
        ("critical", "queued"), ("normal", "queued"), ("of a group", "queued"), ("later", "scheduled"),
        ("after", "blocked"), ("low", "queued"),
    ]  # fmt: skip
    assert [job.name for job in manager.get_pending_jobs(limit=2)] == ["critical", "normal"]
    assert manager.cancel(parent) is True


def fail() -> None:
    raise ValueError("bad card")


def test_statistics_by_queue_function_and_user(manager: JobManager, registry: Registry) -> None:
    registry.register(fail, name="test.fail", queue="money")
    registry.register(plain, name="test.plain")
    for user in ("ann", "ann", "bob"):
        manager.enqueue(Job("Plain", "test.plain", (1,), user=user))
    manager.enqueue(Job("Fail", "test.fail", user="bob"))
    cancelled = manager.enqueue(Job("Plain", "test.plain", (1,)))
    manager.cancel(cancelled)
    manager.enqueue(Job("Later", "test.plain", (1,), delay=60))
    manager.fleet.run_worker(burst=True)

    told = manager.statistics()

    assert {status.value for status in STORED} <= told.keys()
    assert (told["total"], told["completed"], told["failed"], told["cancelled"], told["queue_size"]) == (6, 3, 1, 1, 1)
    assert (told["dead_letters"], told["success_rate"], told["sampled"]) == (1, 0.75, 5)
    assert told["by_priority"]["normal"] == 1
    assert {queue: (row["total"], row["failed"]) for queue, row in told["by_queue"].items()} == {
        "default": (5, 0), "money": (1, 1),
    }  # fmt: skip
    assert {name: (row["completed"], row["failed"], row["cancelled"]) for name, row in told["by_function"].items()} == {
        "test.fail": (0, 1, 0), "test.plain": (3, 0, 1),
    }  # fmt: skip
    assert {name: (row["total"], row["success_rate"]) for name, row in told["by_user"].items()} == {
        "ann": (2, 1.0), "bob": (2, 0.5),
    }  # fmt: skip
    assert told["by_function"]["test.plain"]["average_duration"] > 0


def test_a_dead_letter_is_looked_at_and_retried(manager: JobManager, registry: Registry) -> None:
    registry.register(fail, name="test.fail")
    job_id = manager.enqueue(Job("Fail", "test.fail"))
    manager.fleet.run_worker(burst=True)

    (letter,) = manager.dead_letters()
    assert (letter.id, letter.error, manager.poll(job_id).status) == (job_id, "bad card", JobStatus.FAILED)
    assert manager.retry_dead_letter(job_id, by="ann") is True
    assert (manager.dead_letters(), manager.poll(job_id).status) == ([], JobStatus.QUEUED)


def test_old_results_go_and_ids_are_remembered_meanwhile(manager: JobManager, redis_url: str) -> None:
    job_id = manager.enqueue(Job("Plain", plain, (1,)))
    waiting = manager.enqueue(Job("Plain", plain, (1,), delay=60))
    manager.fleet.run_worker(burst=True)

    with Fleet(redis_url) as usual:
        assert JobManager(fleet=usual).cleanup_old_results(days=0) == 0  # its enqueue may still be repeated
    assert wait_until(lambda: manager.cleanup_old_results(days=0), why="the window has gone by") == 1

    with pytest.raises(jobfleet.JobNotFound):
        manager.poll(job_id)
    assert manager.poll(waiting).status is JobStatus.SCHEDULED


def test_there_is_one_and_it_follows_the_default_fleet(fleet: Fleet) -> None:
    before = default.set_default_fleet(fleet)
    try:
        assert get_job_manager() is get_job_manager()
        assert get_job_manager().fleet is fleet
    finally:
        default.set_default_fleet(before)


def test_settings_make_a_fleet_of_its_own(redis_url: str) -> None:
    manager = JobManager(JobConfig(url=redis_url, namespace="mine"))

    manager.enqueue(Job("Plain", plain, (1,)))

    assert manager.statistics()["queued"] == 1
    manager.fleet.close()


@pytest.mark.parametrize("workers", [0, -1, True, 1.5, "4", 10_001])
def test_a_wrong_number_of_workers_is_refused(manager: JobManager, workers: int) -> None:
    with pytest.raises(ConfigError, match=r"^workers is .*; give a whole number from 1 to 10,000\.$"):
        manager.start(workers=workers)


def test_other_wrong_values_are_refused(manager: JobManager, fleet: Fleet) -> None:
    with pytest.raises(ConfigError, match=r"^days is -1; give a number of days"):
        manager.cleanup_old_results(days=-1)
    with pytest.raises(ConfigError, match=r"^timeout is -1; give seconds"):
        manager.shutdown(timeout=-1)
    with pytest.raises(ConfigError, match=r"^config and fleet are both given"):
        JobManager(JobConfig(), fleet=fleet)


def test_start_says_at_once_that_redis_is_away(tmp_path: Path) -> None:
    with Fleet(f"unix://{tmp_path}/nobody.sock", patience=0.1) as fleet:
        manager = JobManager(fleet=fleet)
        with pytest.raises(StoreUnavailable):
            manager.start(workers=1)
        assert not manager.is_running


PROGRAM = """
import threading
from jobfleet import Job, get_job_manager

begun = threading.Event()

def linger(seconds):
    begun.set()
    threading.Event().wait(seconds)
    return "done"

manager = get_job_manager()
manager.start(workers=2)
print(manager.enqueue(Job("Linger", linger, (0.5,))))
begun.wait()
"""


def test_a_program_that_ends_lets_its_jobs_end_first(fleet: Fleet, redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)

    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env={**os.environ, "JOBFLEET_URL": redis_url},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert fleet.poll(done.stdout.strip()).result == "done"
    assert (done.stderr, fleet.workers()) == ("", [])
