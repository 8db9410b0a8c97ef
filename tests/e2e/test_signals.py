"""Signals beyond a plain stop: QUIT, HUP, USR1, CONT."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import APPS, LONG, ROOT, Program, Programs, await_listening, settle_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fresh

APP = """
from jobfleet import job

@job(name="app.version")
async def version():
    return {version!r}
"""


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def descriptors(worker: Program) -> int:
    return len(list(Path(f"/proc/{worker.pid}/fd").iterdir()))


def restarted(fleet: Fleet, worker: Program, before: str) -> str:
    """Wait until another worker is ready in the same process; answer its id."""

    def other() -> str:
        assert not worker.is_over, worker.said
        return next(
            (one.id for one in fleet.workers() if one.pid == worker.pid and one.children and one.id != before), ""
        )

    return wait_until(other, timeout=LONG, why="the worker has started afresh")


def test_quit_gives_everything_back_at_once_and_uncounted(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    worker = programs.ready(grace=600)
    ids = [fleet.enqueue(Job("gate", f"hist.{name}", (str(tmp_path / "gate"),))) for name in ("gate", "door")]
    for job_id in ids:
        programs.history.await_start(job_id)

    worker.send(signal.SIGQUIT)

    assert worker.exit_code() == 0
    assert {fleet.poll(job_id).status for job_id in ids} == {JobStatus.QUEUED}
    assert {(one.attempt, one.retry_count) for one in map(fleet.poll, ids)} <= {(0, 0), (1, 0)}
    assert worker.family() == []
    assert fleet.workers() == []
    assert "Traceback" not in worker.said


def test_quit_from_a_terminal_reaches_the_children_too_and_ends_them_no_other_way(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    worker = programs.ready(grace=600)
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(tmp_path / "never"),), max_crashes=1))
    programs.history.await_start(job_id)

    worker.send_all(signal.SIGQUIT)

    assert worker.exit_code() == 0
    assert fleet.poll(job_id).status is JobStatus.QUEUED
    assert "child.died" not in worker.said


def test_hup_starts_afresh_with_new_code_in_the_same_process(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    app, gate = tmp_path / "app.py", tmp_path / "gate"
    app.write_text(APP.format(version="old"))
    worker = programs.ready("app", app_dir=tmp_path, processes=2)
    (before,) = [one.id for one in fleet.workers()]
    command, children = command_of(worker.pid), worker.await_children(2)
    assert fleet.wait(fleet.enqueue(Job("v", "app.version")), timeout=LONG).result == "old"

    app.write_text(APP.format(version="quite new"))
    worker.send(signal.SIGHUP)
    after = restarted(fleet, worker, before)

    assert fleet.wait(fleet.enqueue(Job("v", "app.version")), timeout=LONG).result == "quite new"
    assert before != after
    assert command_of(worker.pid) == command
    assert not set(worker.children()) & set(children)
    assert [one.id for one in fleet.workers()] == [after]
    gate.touch()
    worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert worker.family() == []


def test_hup_under_load_loses_nothing_and_charges_nobody(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready(processes=2, slots=4)
    (before,) = [one.id for one in fleet.workers()]
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.05,)) for _ in range(200))]
    wait_until(lambda: len(programs.history.ended()) > 20, timeout=LONG, why="some have ended")

    worker.send(signal.SIGHUP)
    restarted(fleet, worker, before)

    results = settle_all(fleet, ids)
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {(result.attempt, result.retry_count) for result in results.values()} == {(1, 0)}
    assert set(programs.history.starts().values()) == {1}


def test_hup_waits_for_running_jobs_and_what_outlasts_the_grace_is_given_back_uncounted(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    worker = programs.ready(grace=0.5)
    (before,) = [one.id for one in fleet.workers()]
    gate = tmp_path / "gate"
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(job_id)

    worker.send(signal.SIGHUP)
    restarted(fleet, worker, before)
    gate.touch()

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.status, result.attempt, result.retry_count) == (JobStatus.COMPLETED, 1, 0)


def test_term_while_it_drains_for_hup_ends_the_worker(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(grace=600)
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(job_id)

    worker.send(signal.SIGHUP)
    worker.await_line("worker.stopping")
    worker.send(signal.SIGTERM)
    gate.touch()

    assert worker.exit_code() == 0
    assert "worker.hurrying" not in worker.said
    assert "worker.restarting" not in worker.said
    assert fleet.poll(job_id).status is JobStatus.COMPLETED


def test_a_signal_that_comes_while_the_process_starts_afresh_is_not_lost(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready()

    worker.send(signal.SIGHUP)
    worker.await_line("worker.restarting")
    worker.send(signal.SIGHUP)  # its default is death: it must be held back, then passed over or obeyed
    wait_until(lambda: worker.said.count("worker.started") >= 2, timeout=LONG, why="it has started again")
    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert worker.family() == []


def test_a_second_hup_hurries_the_drain_and_still_starts_afresh(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    worker = programs.ready(grace=600)
    (before,) = [one.id for one in fleet.workers()]
    gate = tmp_path / "gate"
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(job_id)

    worker.send(signal.SIGHUP)
    worker.await_line("worker.stopping")
    worker.send(signal.SIGHUP)
    restarted(fleet, worker, before)
    gate.touch()

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.status, result.attempt, result.retry_count) == (JobStatus.COMPLETED, 1, 0)


def test_what_stands_beside_the_children_is_there_once_after_hup(programs: Programs, fleet: Fleet) -> None:
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    worker = programs.ready(with_reaper=1, metrics_port=port)
    (before,) = [one.id for one in fleet.workers()]
    worker.await_line("reaper.started")

    worker.send(signal.SIGHUP)
    restarted(fleet, worker, before)

    wait_until(lambda: worker.said.count("reaper.started") == 2, timeout=LONG, why="the new reaper runs")
    assert len(worker.children("jobfleet.services.main")) == 1
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b"jobfleet_worker_slots" in answer.read()
    assert "reaper.died" not in worker.said
    worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert worker.family() == []


def test_descriptors_do_not_gather_over_restarts(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready()
    counts = []
    for _ in range(3):
        (before,) = [one.id for one in fleet.workers()]
        counts.append(descriptors(worker))
        worker.send(signal.SIGHUP)
        restarted(fleet, worker, before)

    wait_until(lambda: descriptors(worker) <= max(counts), timeout=LONG, why="no more are open than were")


def test_a_worker_whose_terminal_goes_away_drains_and_ends(programs: Programs, fleet: Fleet) -> None:
    code, said = on_terminal(programs, fleet, signal.SIGHUP)

    assert code == 0
    assert "worker.restarting" not in said


def test_ctrl_c_on_a_terminal_says_how_to_be_quicker(programs: Programs, fleet: Fleet) -> None:
    code, said = on_terminal(programs, fleet, signal.SIGINT)

    assert code == 0
    assert "Stopping: running jobs have 25 s to end. Signal again (Ctrl-C) to stop at once." in said


def on_terminal(programs: Programs, fleet: Fleet, number: signal.Signals) -> tuple[int, str]:
    """Run a worker on a terminal, send it a signal; answer its exit code and what it said."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "JOBFLEET_URL": programs.url, "JOBFLEET_APP_DIR": str(APPS)}
    command = [sys.executable, "-m", "jobfleet", "worker", "histories", "-p", "1"]
    process = subprocess.Popen(command, env=environ, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        wait_until(lambda: any(one.children for one in fleet.workers()), timeout=LONG, why="it is ready")
        process.send_signal(number)
        said = b""
        with suppress(OSError):
            while part := os.read(ours, 65536):
                said += part
        return process.wait(LONG), said.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_worker_under_nohup_does_not_hear_hup(programs: Programs, fleet: Fleet) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what is ignored is inherited
    try:
        worker = programs.ready()
    finally:
        signal.signal(signal.SIGHUP, before)
    (name,) = [one.id for one in fleet.workers()]

    worker.send(signal.SIGHUP)
    (confirmed,) = fleet.command_workers([name], "quiet")

    assert confirmed.is_confirmed
    assert "worker.stopping" not in worker.said


def test_usr1_shows_what_a_child_holds_and_does(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready()
    job_id = fleet.enqueue(Job("rest", "hist.rest", (600.0,)))
    programs.history.await_start(job_id)
    (child,) = worker.children()

    worker.send(signal.SIGUSR1)

    worker.await_line("child.stacks")
    worker.await_line("in rest")
    assert f"pid={child} holds {job_id}:started" in worker.said
    assert "histories.py" in worker.said
    assert not worker.is_over


def test_cont_ends_the_quiet(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    worker = programs.ready()
    await_listening(raw, 1)
    worker.send(signal.SIGTSTP)
    await_listening(raw, 0)
    job_id = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))
    wait_until(lambda: [one.state for one in fleet.workers()] == ["quiet"], timeout=LONG, why="its presence says so")
    assert fleet.poll(job_id).status is JobStatus.QUEUED

    worker.send(signal.SIGCONT)

    assert fleet.wait(job_id, timeout=LONG).status is JobStatus.COMPLETED
    os.kill(worker.pid, 0)


def test_ctrl_c_while_the_command_line_is_imported_prints_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(
        "import pathlib, time\n"
        "here = pathlib.Path(__file__).parent\n"
        "(here / 'loads').touch()\n"
        "while not (here / 'go').exists():\n"
        "    time.sleep(0.01)\n"
    )
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "jobfleet", "worker", "histories"]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, cwd=tmp_path)
    try:
        wait_until((tmp_path / "loads").exists, timeout=LONG, why="the import is under way")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LONG)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == -signal.SIGINT
    assert said == b""


HELD = """
import os, sys, time
if {module!r} in sys.orig_argv:
    open({folder!r} + "/loads", "w").close()
    while not os.path.exists({folder!r} + "/go"):
        time.sleep(0.01)
"""


@pytest.mark.parametrize("module", ["jobfleet.services.main", "jobfleet.worker.child.main"])
def test_ctrl_c_prints_no_traceback_of_a_process_that_still_starts(redis_url: str, tmp_path: Path, module: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(HELD.format(module=module, folder=str(tmp_path)))
    environ = {
        **os.environ, "JOBFLEET_URL": redis_url, "JOBFLEET_APP_DIR": str(APPS), "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }  # fmt: skip
    command = [sys.executable, "-m", "jobfleet", "worker", "histories", "-p", "1", "--with-reaper"]
    with (tmp_path / "said").open("wb") as out:
        worker = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    said = (tmp_path / "said").read_text
    try:
        wait_until((tmp_path / "loads").exists, timeout=LONG, why="the process starts")
        if module == "jobfleet.services.main":  # a worker handles its signals before it starts a child
            wait_until(lambda: "worker.started" in said(), timeout=LONG, why="the worker handles its signals")
        os.killpg(worker.pid, signal.SIGINT)
        wait_until(lambda: "worker.stopping" in said(), timeout=LONG, why="it stops")
        (tmp_path / "go").touch()
        assert worker.wait(LONG) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    assert "KeyboardInterrupt" not in said()
    assert "died" not in said()
