"""The duties of a supervisor: no error of one of their collaborators ends them, or keeps the other children waiting."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.config import JobConfig
from jobfleet.events import Command
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target
from jobfleet.worker.ipc.lease_board import Phase, Posted
from jobfleet.worker.ipc.protocol import kind_of
from jobfleet.worker.ipc.usage import Usage
from jobfleet.worker.supervisor.main import Supervisor
from tests.support.seed import Seed
from tests.support.waiting import await_until

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("mail", 0)


class Child:
    """A child as its supervisor sees it.

    Args:
        is_broken: Whether nothing of it can be read.
    """

    def __init__(self, number: int, *, is_broken: bool) -> None:
        self.child, self.pid, self.number = f"w.{number}", number, number
        self.is_broken = is_broken
        self.stopped_at: float | None = None
        self.is_ready = self.is_draining = False
        self.usage: Usage | None = None
        self.running, self.turned_at, self.kind, self.born = 0, 0.0, None, 0.0
        self.frames: list[tuple[Any, ...]] = []

    def posted(self) -> list[Posted]:
        """The job that it holds."""
        if self.is_broken:
            raise LookupError("planted")
        return [Posted(Phase.STARTED, "mail.0.a", 7)]

    def overdue(self, now: float) -> Any:
        """Nothing is; whoever asks leaves the child alone."""
        raise LookupError("planted")

    def tell(self, *frame: Any) -> None:
        """Note a frame."""
        if self.is_broken and frame[0] == "alive":
            raise LookupError("planted")
        self.frames.append(frame)

    def words(self) -> list[str]:
        """The words of the frames."""
        return [str(frame[0]) for frame in self.frames]


@pytest.fixture
async def supervisor(redis_url: str) -> AsyncIterator[Supervisor]:
    """A supervisor of two children, of which the first is broken."""
    config = JobConfig(url=redis_url, lease=3.0, beat=0.1)
    supervisor = Supervisor(["app"], config, target(redis_url))
    for number, is_broken in ((1, True), (2, False)):
        supervisor._by_pid[number] = cast(Any, Child(number, is_broken=is_broken))
    yield supervisor
    supervisor._by_pid.clear()
    await supervisor._leave()


def child_of(supervisor: Supervisor, number: int) -> Child:
    return cast(Child, supervisor._by_pid[number])


async def test_a_child_that_cannot_be_read_does_not_keep_the_others_from_their_leases(
    supervisor: Supervisor, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    Seed(raw, LANE).running("a", 7, child="w.2")
    sound = child_of(supervisor, 2)

    supervisor.start_duties()

    async def is_cared_for() -> bool:
        return sound.words().count("renewed") >= 4 and sound.words().count("alive") >= 2

    await await_until(is_cared_for, why="the sound child has its leases renewed again and again")
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert sorted(errors) == [
        "freeze.stumbled LookupError: planted",
        "limits.stumbled LookupError: planted",
        "renewal.stumbled LookupError: planted",
    ]


async def test_a_worker_is_heard_although_something_beside_its_heartbeat_fails(
    supervisor: Supervisor, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []

    async def look_again() -> bool:
        looks.append(len(looks))
        raise LookupError("planted")

    monkeypatch.setattr(supervisor._store, "look_again", look_again)

    supervisor.start_duties()

    async def is_restarted() -> bool:
        return len(looks) >= 3

    await await_until(is_restarted, why="the heartbeat has failed and goes on")
    beats = {one.beat for one in fleet.workers()}

    async def is_heard() -> bool:
        return bool({one.beat for one in fleet.workers()} - beats)

    await await_until(is_heard, why="the worker is heard again")
    assert caplog.text.count("heartbeat.stumbled LookupError: planted") == 1


async def test_commands_are_heard_after_one_that_failed(
    supervisor: Supervisor, raw: redis.Redis, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []
    obeyed: list[str] = []

    def resume(by: str) -> None:
        failed.append(by)
        raise LookupError("planted")

    monkeypatch.setattr(supervisor._lifecycle, "resume", resume)
    monkeypatch.setattr(supervisor._lifecycle, "quiet", obeyed.append)
    supervisor.start_duties()
    worker = supervisor._worker
    number = 0

    async def is_heard(what: str, seen: list[str]) -> bool:
        nonlocal number
        number += 1
        raw.publish(KEYS.commands, Command(what, worker, f"{number:x}").line())
        return bool(seen)

    async def has_failed() -> bool:
        return await is_heard("resume", failed)

    async def is_obeyed() -> bool:
        return await is_heard("quiet", obeyed)

    await await_until(has_failed, why="a command has failed")
    await await_until(is_obeyed, why="the next command is obeyed")


@pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
async def test_a_queue_has_the_lanes_of_its_worker_before_the_worker_is_seen(
    supervisor: Supervisor, fleet: Fleet, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer that does not know the setting would create it with one lane."""
    monkeypatch.setattr(supervisor, "_config", replace(supervisor._config, lanes={"wide": 6}))
    ready: tuple[Any, ...] = ("ready", {}, ["wide"], *kind_of({}, ["wide"]))

    async def reports() -> AsyncIterator[list[Any]]:
        yield list(ready)

    handle: Any = child_of(supervisor, 2)
    await supervisor._child_processes._hear(handle, reports())

    assert [one.queues for one in fleet.workers()] == [("wide",)]
    await asyncio.to_thread(fleet.enqueue, Job("nap", "app.nap", queue="wide"))
    assert [(row.name, row.lanes) for row in fleet.queues()] == [("wide", 6)]
