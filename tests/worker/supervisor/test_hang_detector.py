"""Time that a supervisor could not see accuses nobody."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.worker.child.main import Child
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.supervisor import watchdog
from jobfleet.worker.supervisor.metrics import WorkerMetrics
from jobfleet.worker.supervisor.watchdog import HangDetector
from tests.support.waiting import await_until


class Still:
    """A child whose loop does not turn, and that counts how often it is looked at."""

    child, pid, stopped_at = "w.1", 1, None
    queues: tuple[str, ...] = ()
    looks = 0

    @property
    def turned_at(self) -> float:
        self.looks += 1
        return 5.0

    def posted(self) -> list[Any]:
        return []


async def test_a_machine_that_slept_accuses_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(ahead=0.0)
    monkeypatch.setattr(watchdog, "boottime", lambda: boottime() + clock.ahead)
    child: Any = Still()
    hangs = HangDetector(
        {1: child}, after=30.0, kill=False, metrics=WorkerMetrics(JobConfig(processes=1), "w", Tally())
    )
    hangs._every = 0.01
    watching = asyncio.ensure_future(hangs.watch())

    async def looked(times: int) -> bool:
        return bool(child.looks >= times)

    await await_until(lambda: looked(3), why="it is watched")
    clock.ahead = 3600.0
    before = child.looks
    await await_until(lambda: looked(before + 3), why="it is watched after the sleep")

    assert hangs.count == 0
    watching.cancel()


async def test_a_child_stamps_its_board_four_times_within_the_shortest_hang() -> None:
    child = Child(cast(Any, None), cast(Any, None), LeaseBoard(None, 1))
    child._config = JobConfig(hang_after=0.1)

    child._show_alive()

    assert child._alive_timer.when() - asyncio.get_running_loop().time() <= 0.025
    child._alive_timer.cancel()


async def test_a_child_that_stands_still_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    child: Any = Still()
    hangs = HangDetector({1: child}, after=0.1, kill=False, metrics=WorkerMetrics(JobConfig(processes=1), "w", Tally()))
    watching = asyncio.ensure_future(hangs.watch())

    async def seen() -> bool:
        return hangs.count == 1

    await await_until(seen, why="it is seen")
    watching.cancel()
