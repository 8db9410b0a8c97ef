"""Commands that a script has started with `&`: a shell without job control starts those with INT and QUIT ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet
from tests.support.fleet import APPS, LONG, ROOT
from tests.support.server import is_running
from tests.support.waiting import wait_until


class Script:
    """A shell that starts `jobfleet ARGUMENT…` in the background and waits for its end.

    Args:
        url: The server; empty for what the command finds itself.
        folder: Where the command runs and where its log goes.
    """

    def __init__(self, url: str, folder: Path, *arguments: str) -> None:
        self.log = folder / "background.log"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("JOBFLEET_")}
        environ |= {"JOBFLEET_APP_DIR": str(APPS), "PYTHONPATH": str(ROOT)}
        if url:
            environ["JOBFLEET_URL"] = url
        script = '"$@" & echo $!; wait $!; exit $?'
        with self.log.open("ab") as out:
            self.shell = subprocess.Popen(
                ["/bin/sh", "-c", script, "sh", sys.executable, "-m", "jobfleet", *arguments],
                cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out,
                start_new_session=True, text=True,
            )  # fmt: skip
        assert self.shell.stdout is not None
        self.pid = int(self.shell.stdout.readline())

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def await_line(self, text: str) -> None:
        wait_until(lambda: text in self.said, timeout=LONG, why=f"the log has {text!r}")

    def close(self) -> None:
        if is_running(self.pid):
            os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.communicate()


@pytest.fixture
def scripts() -> Iterator[list[Script]]:
    started: list[Script] = []
    yield started
    for script in started:
        script.close()
        sys.stdout.write(script.said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_worker_in_the_background_of_a_script_obeys(
    scripts: list[Script], redis_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    worker = Script(redis_url, tmp_path, "worker", "histories", "-p", "1")
    scripts.append(worker)
    with Fleet(redis_url) as fleet:
        wait_until(lambda: any(one.children for one in fleet.workers()), timeout=LONG, why="the worker is ready")

    os.kill(worker.pid, number)

    assert worker.shell.wait(LONG) == 0
    assert "worker.stopped" in worker.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_reaper_in_the_background_of_a_script_obeys(
    scripts: list[Script], redis_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    reaper = Script(redis_url, tmp_path, "reaper")
    scripts.append(reaper)
    reaper.await_line("reaper.started")

    os.kill(reaper.pid, number)

    assert reaper.shell.wait(LONG) == 0
    assert "reaper.stopped" in reaper.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_up_in_the_background_of_a_script_obeys(scripts: list[Script], tmp_path: Path, number: signal.Signals) -> None:
    up = Script("", tmp_path, "up", "histories", "-p", "1")
    scripts.append(up)
    up.await_line("reaper.started")
    up.await_line("worker.started")

    os.kill(up.pid, number)

    assert up.shell.wait(LONG) == 0
    assert "worker.stopped" in up.said
