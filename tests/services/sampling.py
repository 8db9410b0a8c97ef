"""What the tests of samples start from: the duty, a clock that they move, and the history that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jobfleet import AsyncFleet
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Mute
from jobfleet.model.history import History
from jobfleet.operations.history import read
from jobfleet.operations.operation import drive
from jobfleet.samples import Point
from jobfleet.services.duties.samples import Samples
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Command
from jobfleet.store.calls.presence import report_runs
from jobfleet.worker.supervisor.heartbeat import RunTotals

S = 1_000_000
BEGIN = 1_799_971_200
"""A moment that begins a chunk of minutes, seconds since 1970."""


def at(seconds: float) -> int:
    """A moment in µs, so many seconds after `BEGIN`, and a little."""
    return round((BEGIN + seconds + 0.3) * S)


def sampler(store: AsyncStore, fleet: AsyncFleet, process: str = "a", **more: Any) -> Samples:
    """The duty in a process."""
    config = more.pop("config", JobConfig(url=fleet.config.url))
    return Samples(store, fleet.context.keys, config, Mute(), process=process, **more)


async def count(store: AsyncStore, fleet: AsyncFleet, queue: str = "mail", **counts: int) -> None:
    """Let the first lane of a queue count."""
    lane = fleet.context.keys.lane(queue, 0)
    commands: list[Command] = [("HINCRBY", lane.totals, name, by) for name, by in counts.items()]
    await store.repeat(lambda: commands)


class Worker:
    """A worker that reports runs."""

    def __init__(self, store: AsyncStore, fleet: AsyncFleet, name: str = "w1") -> None:
        self._store, self._fleet, self._name = store, fleet, name
        self._totals, self._first = RunTotals(), 0

    async def reports(self, function: str, point: Point, queue: str = "mail") -> None:
        """Report what is new."""
        self._totals.add([(queue, function, point)])
        report = self._totals.news(self._first)
        assert report is not None
        now = await self._store.run(report_runs(self._fleet.context.keys, self._name, report))
        self._first = self._first or now


async def history(
    store: AsyncStore, fleet: AsyncFleet, now: int, queue: str | None = None, function: str | None = None, **more: Any
) -> History:
    """The history, as it is at a moment."""
    asked = {"since": 30, "step": None, **more}
    return await drive(store, read(fleet.context, queue, function, **asked, now_us=now))


def rows(found: History) -> dict[float, Mapping[str, Any] | None]:
    """What is not 0 in each step, by its seconds after `BEGIN`; None for a step that was not sampled."""
    return {point.at.timestamp() - BEGIN: _row(asdict(point)) for point in found.points}


def _row(point: dict[str, Any]) -> Mapping[str, Any] | None:
    if point["completed"] is None:
        return None
    return {name: value for name, value in point.items() if name not in {"at", "wait", "run", "oldest_wait"} and value}
