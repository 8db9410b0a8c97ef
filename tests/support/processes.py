"""Isolated processes of a worker: which there are, and that they have ended."""

from __future__ import annotations

from pathlib import Path

from tests.support.fleet import LONG, Program
from tests.support.server import is_running
from tests.support.waiting import wait_until

CELL = "jobfleet.worker.executors.isolated.main"


def cells(worker: Program) -> list[int]:
    """The isolated processes of a worker."""
    return worker.children(CELL)


def pid_in(path: Path) -> int:
    """The process that a job has written down."""
    wait_until(lambda: path.exists() and path.read_text(), timeout=LONG, why=f"{path} is written")
    return int(path.read_text().split()[0])


def gone(*pids: int) -> None:
    """Wait until processes have ended."""
    wait_until(lambda: not any(map(is_running, pids)), timeout=LONG, why=f"{pids} have ended")
