"""The demo as a stranger sees it: what it prints, its exit code, and that nothing is left of it."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
MARK = "DEMO_MARK"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

Demo = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def mark() -> str:
    """What all processes of one demo have in their environment."""
    return secrets.token_hex(8)


@pytest.fixture
def demo(mark: str, tmp_path: Path) -> Demo:
    """Start the demo; its temporary files lie below `tmp_path`."""

    def start(*args: str) -> subprocess.Popen[str]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), MARK: mark}
        command = [sys.executable, "-m", "jobfleet", "demo", *args]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return start


def marked(mark: str) -> list[str]:
    """The processes of a demo that live."""
    found, wanted = [], f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes():
                found.append(f"{folder.name}: {(folder / 'cmdline').read_bytes()!r}")
        except OSError:
            continue
    return found


def test_the_demo_completes_every_job_and_leaves_nothing(demo: Demo, mark: str, tmp_path: Path) -> None:
    process = demo("--limit", "60")
    out, err = process.communicate(timeout=100)

    assert (process.returncode, err) == (0, ""), out
    assert out.splitlines()[-1] == "60 enqueued, 60 completed, 0 lost"
    assert len(re.findall(r"SIGKILL for the \w+ worker", out)) == 1
    assert re.search(r"^[\d,]+ jobs/s over [\d.]+ s", out, re.MULTILINE)
    assert re.search(r"^\d+ jobs ran twice because of the kill$", out, re.MULTILINE)
    assert len(re.findall(r"^ +[\d,]+ +[\d,]+ +[\d,]+ +[\d,]+  \S+\.py$", out, re.MULTILINE)) == 10
    assert marked(mark) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.first(1)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_all_processes_end_with_the_demo(demo: Demo, mark: str, signum: signal.Signals) -> None:
    process = demo()
    assert process.stdout is not None
    for line in process.stdout:
        if " indexed" in line:
            break
    assert len(marked(mark)) > 3, "the server, two workers and the demo itself run"

    process.send_signal(signum)
    process.communicate(timeout=30)

    wait_until(lambda: not marked(mark), why="all processes of the demo have ended")
