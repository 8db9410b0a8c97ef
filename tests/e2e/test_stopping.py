"""How a worker starts and ends: signals, grace, exit codes, messages."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Program, Programs, await_listening, settle_all
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_jobs_finish(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path, number: signal.Signals
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready()
    ids = [fleet.enqueue(Job("gate", f"hist.{name}", (str(gate),))) for name in ("gate", "door")]
    for job_id in ids:
        programs.history.await_start(job_id)
    await_listening(raw, 1)  # it waits again, so that its absence below means that it has stopped

    worker.send(number)
    worker.await_line("worker.stopping")
    await_listening(raw, 0)
    later = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))
    gate.touch()

    assert worker.exit_code() == 0
    assert {fleet.poll(job_id).status for job_id in ids} == {JobStatus.COMPLETED}
    assert fleet.poll(later).status is JobStatus.QUEUED
    assert worker.family() == []
    assert fleet.workers() == []
    assert "Traceback" not in worker.said


def test_what_does_not_end_in_its_grace_is_given_back_uncounted(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    gate, never = tmp_path / "gate", tmp_path / "never"
    worker = programs.ready(grace=0.5)
    ids = [fleet.enqueue(Job("gate", f"hist.{name}", (str(gate),))) for name in ("gate", "door")]
    ids.append(fleet.enqueue(Job("stubborn", "hist.stubborn", (str(gate),))))
    for job_id in ids:
        programs.history.await_start(job_id)

    worker.send(signal.SIGTERM)
    code = worker.exit_code()
    before = {fleet.poll(job_id).status for job_id in ids}
    gate.touch()
    programs.ready()

    results = settle_all(fleet, ids)
    assert code == 0
    assert before == {JobStatus.QUEUED}
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {(result.retry_count, result.attempt) for result in results.values()} == {(0, 1)}
    assert not never.exists()


def test_a_second_signal_hurries(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    worker = programs.ready(grace=600)
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(tmp_path / "never"),)))
    programs.history.await_start(job_id)

    worker.send(signal.SIGTERM)
    worker.await_line("worker.stopping")
    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert fleet.poll(job_id).status is JobStatus.QUEUED


def test_a_child_that_hears_nothing_is_killed_after_the_grace_and_its_job_is_not_charged(
    programs: Programs, fleet: Fleet
) -> None:
    worker = programs.ready(grace=0.5)
    job_id = fleet.enqueue(Job("block", "hist.block", (600.0,), max_crashes=1))
    programs.history.await_start(job_id)

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert "did not end within its grace" in worker.said
    assert fleet.poll(job_id).status is JobStatus.QUEUED


def test_a_quiet_worker_claims_no_more_but_goes_on(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready()
    running = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(running)

    await_listening(raw, 1)
    worker.send(signal.SIGTSTP)
    await_listening(raw, 0)
    gate.touch()
    fleet.wait(running, timeout=LONG)
    later = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))
    other = programs.ready()

    assert fleet.wait(later, timeout=LONG).status is JobStatus.COMPLETED
    assert programs.history.runners(later)[0] in other.children()
    assert not worker.is_over


def test_a_child_that_follows_a_dead_one_in_a_quiet_worker_is_quiet_too(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    worker = programs.ready(lease=600)
    (child,) = worker.await_children(1)
    await_listening(raw, 1)
    worker.send(signal.SIGTSTP)
    await_listening(raw, 0)

    later = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))
    os.kill(child, signal.SIGKILL)
    worker.await_children(1, but=[child])
    worker.await_line("child.died")
    other = programs.ready()

    fleet.wait(later, timeout=LONG)
    assert programs.history.runners(later)[0] in other.children()


@pytest.mark.parametrize("with_reaper", [0, 1])
def test_a_module_that_is_not_there_is_said_in_one_line(programs: Programs, with_reaper: int) -> None:
    worker = programs.worker("nowhere.jobs", processes=2, app_dir=".", with_reaper=with_reaper)

    assert worker.exit_code() == 2
    said = worker.said
    assert "Cannot import 'nowhere.jobs': No module named 'nowhere' (looked in .; --app-dir?)." in said
    assert said.count("Cannot import") == 1
    assert "Traceback" not in said
    assert worker.family() == []


def test_a_module_that_raises_shows_its_own_traceback_once(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text("def load():\n    return 1 / 0\n\n\nload()\n")

    worker = programs.worker("broken_app", processes=2, app_dir=tmp_path)

    assert worker.exit_code() == 2
    said = worker.said
    assert said.startswith("Cannot import 'broken_app': ZeroDivisionError: division by zero; correct the line below.\n")
    assert said.count("ZeroDivisionError: division by zero") == 2
    assert said.count("Traceback (most recent call last)") == 1
    assert 'broken_app.py", line 2, in load' in said
    assert "jobfleet/worker" not in said
    assert "importlib" not in said


def test_a_worker_that_finds_no_redis_says_so(programs: Programs, tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/none.sock"

    worker = programs.worker(url=url, patience=0.3)
    reaper = programs.start("reaper", url=url, patience=0.3)

    for program in (worker, reaper):
        assert program.exit_code() == 4
        assert f"No Redis at {url}" in program.said
        assert "Start it there, or correct the URL." in program.said
        assert "Traceback" not in program.said
    assert worker.said.count("No Redis at") == 1


def test_a_worker_with_a_reaper_says_once_that_there_is_no_redis(programs: Programs, tmp_path: Path) -> None:
    worker = programs.worker(url=f"unix://{tmp_path}/none.sock", patience=0.3, with_reaper=1)

    assert worker.exit_code() == 4
    assert worker.said.count("No Redis at") == 1
    assert worker.family() == []


def test_a_hosted_reaper_ends_with_its_worker(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(with_reaper=1)
    wait_until(lambda: worker.children("jobfleet.services.main"), timeout=LONG, why="the reaper is there")

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert worker.family() == []
    assert "Traceback" not in worker.said


def test_a_hosted_reaper_that_dies_is_followed_by_another(programs: Programs) -> None:
    worker = programs.ready(with_reaper=1)
    reaper = wait_until(
        lambda: worker.children("jobfleet.services.main"), timeout=LONG, why="the hosted reaper is there"
    )[0]

    os.kill(reaper, signal.SIGKILL)

    wait_until(
        lambda: set(worker.children("jobfleet.services.main")) - {reaper}, timeout=LONG, why="another reaper is there"
    )
    worker.await_line("reaper.died killed by SIGKILL; it is replaced")


def test_a_reaper_ends_on_a_signal(programs: Programs) -> None:
    reaper = programs.reaper()

    reaper.send(signal.SIGTERM)

    assert reaper.exit_code() == 0
    assert "reaper.stopped" in reaper.said


def test_a_burst_ends_when_nothing_is_left(programs: Programs, fleet: Fleet) -> None:
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.01,)) for _ in range(100))]

    worker = programs.worker(processes=2, burst=1)

    assert worker.exit_code() == 0
    assert {fleet.poll(job_id).status for job_id in ids} == {JobStatus.COMPLETED}
    assert set(programs.history.starts().values()) == {1}


def test_a_burst_survives_crashes(programs: Programs, fleet: Fleet) -> None:
    ids = [fleet.enqueue(Job("leave", "hist.leave", (3, 2)))]
    ids += [fleet.enqueue(Job("nap", "hist.nap", (0.1,))) for _ in range(5)]

    worker = programs.worker(burst=1)

    assert worker.exit_code() == 0
    done = [fleet.poll(job_id).status for job_id in ids[1:]]
    assert set(done) == {JobStatus.COMPLETED}
    # It waits out its delay when the worker goes, and counts as queued once that is over.
    assert fleet.poll(ids[0]).status in {JobStatus.COMPLETED, JobStatus.RETRYING, JobStatus.QUEUED}


@pytest.mark.parametrize("burst", [0, 1])
def test_a_child_is_replaced_after_so_many_jobs_and_nothing_is_lost(
    programs: Programs, fleet: Fleet, burst: int
) -> None:
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.3,)) for _ in range(12))]

    worker = programs.worker(slots=2, max_jobs=5, burst=burst)

    results = settle_all(fleet, ids)
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {result.retry_count for result in results.values()} == {0}
    assert set(programs.history.starts().values()) == {1}
    assert len({entry.pid for entry in programs.history.entries()}) >= 2
    assert "child.died" not in worker.said
    if burst:
        assert worker.exit_code() == 0


def test_a_rolling_restart_charges_nobody(programs: Programs, fleet: Fleet) -> None:
    workers = [programs.ready(slots=4), programs.ready(slots=4)]
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.1,)) for _ in range(150))]

    for _ in range(2):
        oldest = workers.pop(0)
        oldest.send(signal.SIGTERM)
        workers.append(programs.ready(slots=4))
        assert oldest.exit_code() == 0

    results = settle_all(fleet, ids)
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {result.retry_count for result in results.values()} == {0}
    assert set(programs.history.starts().values()) == {1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_stopped_while_its_modules_load_ends_at_once(
    programs: Programs, fleet: Fleet, tmp_path: Path, number: signal.Signals
) -> None:
    job_id = fleet.enqueue(Job("nothing", "slow.nothing"))
    worker = programs.worker("slow_to_load", processes=2, grace=600, with_reaper=1)
    wait_until(lambda: len(list(tmp_path.glob("loading-*"))) == 3, timeout=LONG, why="all three load the module")

    worker.send(number)

    assert worker.exit_code() == 0
    assert worker.family() == []
    assert fleet.poll(job_id).status is JobStatus.QUEUED
    for event in ("died", "killed", "reaper.started", "Traceback"):
        assert event not in worker.said


def in_its_hook(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A worker whose child waits in a hook that runs before it serves."""
    monkeypatch.setenv("DRAINING_HOOKS", "wait")
    worker = programs.worker("draining", grace=600)
    wait_until(programs.told, timeout=LONG, why="the hook was called")
    return worker


def test_a_child_that_is_stopped_before_it_serves_claims_nothing(
    programs: Programs, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = fleet.enqueue(Job("nothing", "drain.nothing"))
    worker = in_its_hook(programs, monkeypatch)

    worker.send(signal.SIGTERM)
    worker.await_line("worker.stopping")
    (programs.folder / "warm").touch()

    assert worker.exit_code() == 0
    assert fleet.poll(job_id).status is JobStatus.QUEUED
    assert [line.split()[0] for line in programs.told()] == ["start", "second", "last", "stop"]


def test_a_child_that_is_quiet_before_it_serves_claims_nothing(
    programs: Programs, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = fleet.enqueue(Job("nothing", "drain.nothing"))
    worker = in_its_hook(programs, monkeypatch)

    worker.send(signal.SIGTSTP)
    worker.await_line("worker.quiet")
    (programs.folder / "warm").touch()
    wait_until(lambda: [one.children for one in fleet.workers()] == [1], timeout=LONG, why="it is ready")
    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert fleet.poll(job_id).status is JobStatus.QUEUED


def test_a_child_that_is_stopped_before_it_serves_does_not_wait_for_redis(
    own_programs: Programs, own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAINING_HOOKS", "wait")
    worker = own_programs.worker("draining", grace=600)
    wait_until(own_programs.told, timeout=LONG, why="the hook was called")

    own_server.kill()
    (own_programs.folder / "warm").touch()
    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert "child.killed" not in worker.said


def test_a_hosted_reaper_whose_worker_has_gone_while_it_loads_does_not_begin(
    programs: Programs, tmp_path: Path
) -> None:
    worker = programs.worker("slow_to_load", with_reaper=1)
    wait_until(lambda: len(list(tmp_path.glob("loading-*"))) == 2, timeout=LONG, why="both load the module")

    worker.send(signal.SIGKILL)
    worker.exit_code()
    (tmp_path / "gate").touch()

    wait_until(lambda: not set(worker.family()) - {worker.pid}, timeout=LONG, why="all have ended")
    assert "reaper.started" not in worker.said
