"""`--reload`: a change of code replaces the children; broken code leaves those that are there."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.errors import ConfigError
from jobfleet.worker.supervisor.reload import check_reload
from tests.support.fleet import LONG, Program, Programs
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fresh

APP = """
import asyncio
import time
from pathlib import Path
from jobfleet import job

@job(name="app.version")
async def version():
    return {version!r}

@job(name="app.gate")
async def gate(path):
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return {version!r}

@job(name="app.block")
async def block(path):
    while not Path(path).exists():
        time.sleep(0.01)
    return {version!r}
"""
BROKEN = "from jobfleet import job\n\ndef version(:\n"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    app = folder / "app.py"
    app.write_text(APP.format(version="one"))
    return app


@pytest.fixture
def worker(programs: Programs, app: Path) -> Program:
    worker = programs.ready("app", app_dir=app.parent, reload=1)
    worker.await_line("reload.watching")
    return worker


def answer(fleet: Fleet) -> object:
    result = fleet.wait(fleet.enqueue(Job("v", "app.version")), timeout=LONG)
    assert (result.status, result.retry_count) == (JobStatus.COMPLETED, 0)
    return result.result


def becomes(fleet: Fleet, version: str) -> None:
    wait_until(lambda: answer(fleet) == version, timeout=LONG, why=f"version {version} runs")


def changed(worker: Program, app: Path, text: str) -> None:
    """Change the code, again until the watcher has seen it: it may not watch yet."""
    before = worker.said.count("reload.changed")

    def seen() -> bool:
        app.write_text(text)
        try:
            wait_until(lambda: worker.said.count("reload.changed") > before, timeout=3)
        except AssertionError:
            return False
        return True

    wait_until(seen, timeout=LONG, why="the change is seen")


def test_a_change_is_picked_up_and_another_and_one_that_changes_little(
    worker: Program, fleet: Fleet, app: Path
) -> None:
    assert answer(fleet) == "one"
    for version in ("two", "six", "ten"):
        changed(worker, app, APP.format(version=version))
        becomes(fleet, version)
    wait_until(lambda: len(worker.children()) == 1, timeout=LONG, why="the old ones have gone")
    assert "app.py" in worker.said
    assert "child.died" not in worker.said


def test_broken_code_is_shown_and_the_old_code_runs_on(worker: Program, fleet: Fleet, app: Path) -> None:
    (child,) = worker.children()

    changed(worker, app, BROKEN)
    worker.await_line("child.refused")

    assert answer(fleet) == "one"
    assert worker.children() == [child]
    said = worker.said
    assert said.count("SyntaxError") >= 1
    assert "def version(:" in said
    changed(worker, app, APP.format(version="mended"))
    becomes(fleet, "mended")
    assert not worker.is_over


def test_a_child_that_dies_while_the_code_is_broken_is_followed_once_it_is_mended(
    worker: Program, fleet: Fleet, app: Path
) -> None:
    (child,) = worker.children()
    changed(worker, app, BROKEN)
    worker.await_line("child.refused")

    os.kill(child, signal.SIGKILL)
    worker.await_line("waiting for the next change of code")
    assert not worker.is_over
    changed(worker, app, APP.format(version="mended"))

    becomes(fleet, "mended")


def test_a_job_that_runs_through_a_change_ends_or_is_given_back_uncounted(
    worker: Program, fleet: Fleet, app: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job_id = fleet.enqueue(Job("gate", "app.gate", (str(gate),)))
    wait_until(lambda: fleet.poll(job_id).status is JobStatus.RUNNING, timeout=LONG, why="it runs")

    changed(worker, app, APP.format(version="two"))
    becomes(fleet, "two")
    gate.touch()

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.status, result.retry_count) == (JobStatus.COMPLETED, 0)
    assert result.result in {"one", "two"}  # two: it was given back after five seconds


def test_a_child_that_blocks_its_loop_does_not_stay_after_a_change(
    worker: Program, fleet: Fleet, app: Path, tmp_path: Path
) -> None:
    (child,) = worker.children()
    job_id = fleet.enqueue(Job("block", "app.block", (str(tmp_path / "gate"),), max_crashes=1))
    wait_until(lambda: fleet.poll(job_id).status is JobStatus.RUNNING, timeout=LONG, why="it runs")

    changed(worker, app, APP.format(version="two"))
    becomes(fleet, "two")
    wait_until(lambda: child not in worker.children(), timeout=LONG, why="it is killed")
    (tmp_path / "gate").touch()

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.status, result.retry_count, result.result) == (JobStatus.COMPLETED, 0, "two")


def test_without_the_watcher_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)

    with pytest.raises(ConfigError, match=r"--reload needs watchfiles: pip install 'jobfleet\[dev\]'\."):
        check_reload()
