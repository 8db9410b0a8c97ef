"""A small fleet on a real server, into which a poison is put."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.functions.registry import Registry
from jobfleet.metrics.tally import Mute
from jobfleet.operations.fleet_context import Published
from jobfleet.services.duties.leases import Leases
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.lease import claim
from jobfleet.store.keys import Keyspace
from tests.support.poisons import Poison
from tests.support.state import server_now

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)
GONE = "gone:1:a.0"
WAITS = 20.0
"""Seconds that all honest jobs of a scene may take."""


class Scene:
    """A fleet with jobs that wait, one that runs in a worker that is gone, and a worker to come.

    Attributes:
        honest: Jobs that must complete, whatever the poison does to others.
        victim: A job that waits, and comes first.
        runs: One that a worker ran which is gone.
        later: One that is due in an hour.
    """

    def __init__(self, fleet: Fleet, raw: redis.Redis) -> None:
        self.fleet, self.raw = fleet, raw
        self.honest: list[str] = []
        self.token = 0
        self.victim = self.runs = self.later = ""

    def seed(self) -> None:
        """Put in what comes before the poison."""
        self.runs = self.enqueue("runs")
        call = claim(LANE, child=GONE, nonce=1, lease_us=1, limit=1)
        self.token = self.fleet.store.run(call).grants[0].token
        self.raw.hset(LANE.lane, mapping={"seen": server_now(self.raw), "hold": 0})
        self.victim = self.enqueue("victim")
        self.later = self.fleet.enqueue(Job("later", "test.one", id="later", delay=3600))
        self.honest = [self.victim, self.runs, self.enqueue("before")]

    def enqueue(self, name: str, **options: Any) -> str:
        """Enqueue an honest job."""
        return self.fleet.enqueue(Job(name, "test.one", id=name, **options))

    def poison(self, poison: Poison) -> None:
        """Make the raw writes; again where something has been repaired since."""
        execute: Any = self.raw.execute_command
        for command in poison.commands:
            execute(*[self._filled(part) for part in command])
        self.fleet.context.queues.clear()  # as if all of this was a new process's
        self.fleet.context.published = Published()

    def _filled(self, part: str | bytes | int) -> bytes:
        text = part if isinstance(part, bytes) else str(part).encode()
        for name, value in (
            ("L", LANE.tag), ("F", KEYS.tag), ("P", LANE.id_prefix), ("victim", self.victim), ("runs", self.runs),
            ("later", self.later), ("token", str(self.token)),
        ):  # fmt: skip
            text = text.replace(b"{%s}" % name.encode(), value.encode())
        return text

    def ends(self, names: list[str]) -> dict[str, str]:
        """How these jobs have ended so far: a status, or why they failed."""
        found = self.fleet.poll_many(names)
        return {
            name: (one.error_class or "failed") if str(one.status) == "failed" else str(one.status)
            for name, one in zip(names, found, strict=True)
            if one is not None and one.status.is_final
        }

    def look(self) -> None:
        """Do what workers and reapers do each second: look for leases that have ended."""

        async def turn() -> None:
            store = AsyncStore(self.fleet.store.at, patience=5)
            duty = Leases(store, KEYS, self.fleet.config, Mute())
            await duty.turn()
            await duty.turn()
            await store.close()

        asyncio.run(turn())


@pytest.fixture
def scene(redis_url: str, raw: redis.Redis) -> Iterator[Scene]:
    """A fleet of its own for each poison."""
    registry = Registry()
    with Fleet(redis_url, registry=registry, lease=6, retry_delay=0.05, patience=5) as fleet:
        registry.register(lambda: 1, name="test.one", fleet=fleet)
        yield Scene(fleet, raw)


Working = Callable[[Fleet], AbstractContextManager[None]]


@pytest.fixture
def working() -> Working:
    """A worker in a thread, while the block runs."""

    @contextmanager
    def run(fleet: Fleet) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
            assert not thread.is_alive(), "the worker has not ended"

    return run
