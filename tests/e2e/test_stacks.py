"""The stacks of one child: of its threads and tasks, each with its job, whatever the child does."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import redis
from click.testing import CliRunner, Result

from jobfleet import Fleet, Job
from jobfleet.cli.main import main
from jobfleet.codec import encode
from jobfleet.store.calls.presence import beat
from jobfleet.worker.ipc.protocol import MOST_BYTES
from tests.support.fleet import LONG, Program, Programs
from tests.support.waiting import wait_until
from tests.trust.conftest import OLD, spelled

APP = """
import asyncio, re, time
from pathlib import Path
from jobfleet import BatchItem, job

def until(path: str) -> None:
    Path(path + ".started").touch()
    while not Path(path).exists():
        time.sleep(0.01)

@job(name="app.block")
async def block_the_loop(path: str) -> None:
    until(path)

@job(name="app.thread")
def wait_in_a_thread(path: str) -> None:
    until(path)

@job(name="app.tasks")
async def start_tasks(path: str, number: int) -> None:
    async def inner() -> None:
        while not Path(path).exists():
            await asyncio.sleep(0.05)
    async with asyncio.TaskGroup() as group:
        for at in range(number):
            group.create_task(inner(), name=f"inner {at}")
        Path(path + ".started").touch()

@job(name="app.batch", batch=2, batch_wait=30)
async def wait_for_all(paths: list[str]) -> None:
    Path(paths[0] + ".started").touch()
    while not Path(paths[0]).exists():
        await asyncio.sleep(0.05)

@job(name="app.native")
async def hold_the_interpreter(path: str) -> None:
    Path(path + ".started").touch()
    re.match("(a+)+$", "a" * 34 + "b")
"""


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "app.py").write_text(APP)
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


@pytest.fixture
def worker(programs: Programs, tmp_path: Path, gate: Path) -> Program:
    return programs.ready("app", app_dir=tmp_path, slots=8, beat=0.2, hang_after=60)


def run(fleet: Fleet, gate: Path, name: str, *args: object) -> str:
    job_id = fleet.enqueue(Job(name, f"app.{name}", (str(gate), *args)))
    wait_until(gate.with_name("gate.started").exists, timeout=LONG, why="the job has started")
    return job_id


def child_of(fleet: Fleet) -> str:
    (worker,) = fleet.workers()
    (child,) = worker.processes
    return child.id


@pytest.mark.usefixtures("worker")
def test_a_child_whose_loop_is_blocked_shows_where_and_for_which_job(fleet: Fleet, gate: Path) -> None:
    in_thread = run(fleet, gate, "thread")
    gate.with_name("gate.started").unlink()
    on_loop = run(fleet, gate, "block")
    child = child_of(fleet)

    found = fleet.child_stacks(child, timeout=LONG, by="ann")

    text = found.text
    assert (found.child, found.refusal, found.is_known) == (child, "", True)
    assert re.search(rf"Thread MainThread \(event loop\), job {on_loop}\n(  .*\n)*.*in block_the_loop\n", text)
    assert re.search(rf"Thread jobfleet-job-\d, job {in_thread}\n(  .*\n)*.*in wait_in_a_thread\n", text)
    assert re.search(rf"Task \S+, which runs now in the thread of the event loop, job {on_loop}\n", text)
    assert text.startswith(f"Child {child}, pid {found.pid}. Its event loop turned ")
    assert f"{on_loop} (started)" in text
    (entry,) = fleet.audit().entries
    assert (entry.action, entry.by, entry.target, entry.outcome) == ("worker.stacks", "ann", child, "done")


@pytest.mark.usefixtures("worker")
def test_a_task_shows_where_it_waits_and_belongs_to_the_job_that_has_started_it(fleet: Fleet, gate: Path) -> None:
    job_id = run(fleet, gate, "tasks", 2)

    text = fleet.child_stacks(child_of(fleet), timeout=LONG).text

    for number in range(2):
        assert re.search(rf"Task inner {number}, job {job_id}\n(  .*\n)*.*in start_tasks.<locals>.inner\n", text)
    assert re.search(rf"Task \S+, job {job_id}\n(  .*\n)*.*in start_tasks\n", text)


@pytest.mark.usefixtures("worker")
def test_a_batch_names_its_jobs(fleet: Fleet, gate: Path) -> None:
    first = fleet.enqueue(Job("one", "app.batch", (str(gate),)))
    second = run(fleet, gate, "batch")

    text = fleet.child_stacks(child_of(fleet), timeout=LONG).text

    assert re.search(rf"Task \S+, job {', '.join(sorted([first, second]))}\n(  .*\n)*.*in wait_for_all\n", text)


@pytest.mark.usefixtures("worker")
def test_the_stacks_are_bounded(fleet: Fleet, gate: Path, redis_url: str) -> None:
    run(fleet, gate, "tasks", 2500)

    text = fleet.child_stacks(child_of(fleet), timeout=LONG).text

    assert MOST_BYTES * 0.9 < len(text.encode()) <= MOST_BYTES
    assert text.endswith("\n… (cut)")


@pytest.mark.usefixtures("worker")
def test_a_child_whose_interpreter_is_held_by_native_code_shows_its_threads(fleet: Fleet, gate: Path) -> None:
    job_id = run(fleet, gate, "native")

    text = fleet.child_stacks(child_of(fleet), timeout=LONG).text

    assert "Native code holds the interpreter" in text
    assert "in hold_the_interpreter" in text
    assert f"{job_id} (started)" in text


def test_a_frozen_child_and_one_that_is_not_there(worker: Program, fleet: Fleet) -> None:
    child, (pid,) = child_of(fleet), worker.children()
    os.kill(pid, signal.SIGSTOP)
    worker.await_line("child.frozen")

    frozen = fleet.child_stacks(child, timeout=LONG)
    os.kill(pid, signal.SIGCONT)
    other = fleet.child_stacks(child.replace(".1", ".77"), timeout=LONG)
    unknown = fleet.child_stacks("nobody.1")

    assert (frozen.text, frozen.refusal) == ("", "It is frozen by a signal (SIGSTOP), so that it cannot answer.")
    assert other.refusal == "There is no such child."
    assert (unknown.refusal, unknown.is_known) == ("There is no worker 'nobody'.", False)


def test_an_older_worker_is_not_asked(fleet: Fleet) -> None:
    account = encode({"host": "box", "children": 2})
    fleet.store.run(beat(fleet.context.keys, "box:1:a", account=account, gone_us=10**8))

    assert "of an older version: 'jobfleet workers dump'" in fleet.child_stacks("box:1:a.1").refusal


@pytest.fixture
def cli(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("JOBFLEET_URL", redis_url)
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(main, ["workers", *args], prog_name="jobfleet")


def test_the_command_line_shows_a_worker_and_the_stacks_of_a_child(
    programs: Programs, fleet: Fleet, gate: Path, cli: Callable[..., Result]
) -> None:
    programs.ready("app", app_dir=gate.parent, slots=8, beat=0.2, hang_after=0.5)
    job_id = run(fleet, gate, "block")
    child = child_of(fleet)
    wait_until(lambda: fleet.workers()[0].running, timeout=LONG, why="the worker reports the job of a child that hangs")

    shown = cli("show", child.rpartition(".")[0])
    stacks = cli("stacks", child.partition(":")[0])
    other = cli("stacks", "nobody.1")

    assert re.search(rf"^{child} +hung +1 +8 +12% +[\d.]+ MiB +\S+ +\d+$", shown.stdout, re.MULTILINE)
    assert re.search(rf"^ *\d+ s +1 +app\.block +{job_id}$", shown.stdout, re.MULTILINE)
    assert (stacks.exit_code, "in block_the_loop" in stacks.stdout) == (0, True)
    assert (other.exit_code, other.stderr) == (3, "nobody.1: There is no worker 'nobody'.\n")
    assert cli("show", "nobody").exit_code == 3


def test_with_encryption_the_stacks_are_not_in_clear_text(
    programs: Programs, redis_url: str, raw: redis.Redis, gate: Path
) -> None:
    keys = {"keyring": spelled(old=OLD), "encrypt": "require"}
    programs.ready("app", app_dir=gate.parent, **keys)
    with Fleet(redis_url, **keys) as fleet:  # type: ignore[arg-type]
        run(fleet, gate, "block")
        text = fleet.child_stacks(child_of(fleet), timeout=LONG).text
        (key,) = raw.scan_iter(f"{fleet.context.keys.tag}stacks:*")
        stored = cast(bytes, raw.get(key))

    assert "in block_the_loop" in text
    assert stored
    assert b"block_the_loop" not in stored
