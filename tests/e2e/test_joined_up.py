"""Two `jobfleet up` of one folder: whichever ends first, the other one goes on, and the last one stops the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.embedded import ask
from tests.support.fleet import APPS, LONG, ROOT
from tests.support.server import is_running
from tests.support.waiting import wait_until


class Up:
    """A `jobfleet up histories` in a folder."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.log = log
        environ = {name: value for name, value in os.environ.items() if not name.startswith("JOBFLEET_")}
        if "JOBFLEET_SERVER_BIN" in os.environ:
            environ["JOBFLEET_SERVER_BIN"] = os.environ["JOBFLEET_SERVER_BIN"]
        environ |= {"JOBFLEET_APP_DIR": str(APPS), "PYTHONPATH": str(ROOT), "HISTORY_FILE": str(folder / "history")}
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jobfleet", "up", "histories", "-p", "1"],
                cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid
        wait_until(lambda: "worker.started" in self.said, timeout=LONG, why=f"the worker of {log.name} runs")

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self, number: signal.Signals) -> int:
        os.kill(self.pid, number)
        return self._process.wait(LONG)

    def close(self) -> None:
        if is_running(self.pid):
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Up]]:
    started: list[Up] = []

    def begin() -> Up:
        started.append(Up(tmp_path, tmp_path / f"up-{len(started)}.log"))
        return started[-1]

    yield begin
    for up in started:
        up.close()
        sys.stdout.write(f"--- {up.log.name}\n{up.said}")


@pytest.mark.first(1)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_last_up_stops_the_server(start: Callable[[], Up], tmp_path: Path, number: signal.Signals) -> None:
    first, second, third = start(), start(), start()
    note, socket = tmp_path / ".jobfleet" / "up.json", tmp_path / ".jobfleet" / "data" / "server.sock"
    url = str(json.loads(note.read_text())["url"])
    with Fleet(url) as fleet:
        before = fleet.enqueue(Job("later", "hist.nap", (0.0,), delay=1.0))

    first.end(number)

    with Fleet(url, patience=LONG) as fleet:
        assert fleet.wait(before, timeout=LONG).status is JobStatus.COMPLETED
        assert fleet.wait(fleet.enqueue(Job("nap", "hist.nap", (0.0,))), timeout=LONG).status is JobStatus.COMPLETED
    others = (second.pid, third.pid)
    wait_until(lambda: _pid_of(note) in others, timeout=LONG, why="the note names one that lives")
    assert second.end(signal.SIGTERM) == 0
    wait_until(lambda: ask(socket), timeout=LONG, why="the third one serves")
    wait_until(lambda: _pid_of(note) == third.pid, timeout=LONG, why="the note names the third one")
    assert third.end(signal.SIGTERM) == 0

    assert ask(socket) is None
    assert not note.exists()


def _pid_of(note: Path) -> int:
    """The process that a note names; 0 without one."""
    try:
        return int(json.loads(note.read_text())["pid"])
    except OSError:
        return 0
