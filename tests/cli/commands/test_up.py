"""`up`: the server, the note for other commands, and the worker it attends to. A stub plays the worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet.cli.commands.up import worker_command
from jobfleet.config import mask_url
from tests.cli.hand import ROOT, Cli, Start
from tests.support.server import is_running
from tests.support.waiting import wait_until

STUB = """
import os, signal, sys, types

def main(modules, config):
    awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)  # before it is heard of: none may come between a look and a pause
    print("stub", modules, config.slots, config.with_reaper, config.log_jobs, config.url, os.getpid(), flush=True)
    print("told", [signal.Signals(signal.sigwait(awaited)).name.removeprefix("SIG")], flush=True)
    return 7

sys.modules["jobfleet.worker.supervisor.main"] = stub = types.ModuleType("jobfleet.worker.supervisor.main")
stub.main = main
"""


@pytest.fixture
def start(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start `up` with a stub for its worker."""
    stubs = tmp_path_factory.mktemp("stubs")
    (stubs / "sitecustomize.py").write_text(STUB)
    started: list[subprocess.Popen[str]] = []

    def run(*args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "jobfleet", "up", *args]
        environ = {**os.environ, "PYTHONPATH": f"{stubs}:{ROOT}", "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    while not (line := process.stdout.readline()).startswith("stub"):
        assert line, process.communicate()
    return line.strip()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_up_runs_everything_and_cleans_up(
    start: Start, here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    monkeypatch.delenv("JOBFLEET_URL")
    process = start("app.jobs", "-c", "3")
    line = said(process)
    note = json.loads((here / ".jobfleet/up.json").read_text())
    assert note["pid"] == process.pid
    assert line.rpartition(" ")[0] == f"stub ['app.jobs'] 3 True True {note['url']}"
    assert (here / ".jobfleet/.gitignore").read_text() == "*\n"
    assert cli("queues", "ls").stderr.splitlines()[0] == f"Using {note['url']} from .jobfleet/up.json"
    process.send_signal(signum)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (7, "")
    assert out == f"told ['{signum.name.removeprefix('SIG')}']\n"
    assert not (here / ".jobfleet/up.json").exists()
    assert cli("queues", "ls").exit_code in {0, 4}


@pytest.mark.usefixtures("here")
def test_up_logs_each_job_unless_that_is_set(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBFLEET_LOG_JOBS", "0")

    assert said(start("app.jobs", "-c", "3")).startswith("stub ['app.jobs'] 3 True False ")


def test_a_second_up_joins_and_leaves_the_note(start: Start, here: Path) -> None:
    first = start("a")
    said(first)
    second = start("b")
    said(second)
    assert json.loads((here / ".jobfleet/up.json").read_text())["pid"] == first.pid
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=30)
    assert json.loads((here / ".jobfleet/up.json").read_text())["pid"] == first.pid


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's doing")
def test_the_worker_ends_with_an_up_that_is_killed(start: Start) -> None:
    process = start("a")
    worker = int(said(process).rpartition(" ")[2])
    process.kill()
    wait_until(lambda: not is_running(worker), why="the worker ended")


def test_fresh_asks_and_refuses_what_is_in_use(start: Start, here: Path, cli: Cli) -> None:
    process = start("a")
    said(process)
    refused = cli("up", "a", "--fresh", "--yes")
    assert (refused.exit_code, refused.stderr) == (
        2, "A server runs in .jobfleet/data; end its 'jobfleet up' first.\n",
    )  # fmt: skip
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    asked = cli("up", "a", "--fresh", input="n\n")
    assert asked.exit_code == 1
    assert asked.stderr.startswith("Remove the data in .jobfleet/data (")
    assert (here / ".jobfleet/data/SERVER").exists()
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").write_text("x")
    foreign = cli("up", "a", "--fresh", "--yes", "--path", "mine")
    assert foreign.exit_code == 2
    assert (here / "mine" / "thesis.txt").exists()


def test_a_url_that_others_use_is_told(
    start: Start, here: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start("a", "--config", "other.toml")
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (2, "No settings file other.toml; correct --config / JOBFLEET_CONFIG.\n")
    (here / "jobfleet.toml").write_text(f'url = "{redis_url}"\n')
    process = start("a")
    said(process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert (
        err == f"Other commands use {mask_url(redis_url)} (jobfleet.toml), not this server; unset that to change it.\n"
    )


def test_flags_go_on_to_the_worker() -> None:
    given = {"verbose": 2, "slots": "4", "no_color": True, "config": "a.toml"}
    assert worker_command(["m"], "unix:///s", given)[3:] == [
        "worker", "m", "--with-reaper", "--url=unix:///s", "-v", "-v", "--slots=4", "--no-color", "--config=a.toml",
    ]  # fmt: skip
