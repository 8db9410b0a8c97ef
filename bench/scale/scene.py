"""One number of simulated workers on one server, idle or at a steady rate of jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field

from bench.scale.servers import Servers
from bench.scale.worker import Calls, SimulatedWorker, at_most
from bench.setting import Trouble
from jobfleet import AsyncFleet, Job
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target

QUEUE = "scale"
TICK = 0.1
AT_ONCE = 50
STARTING = 120.0
"""Seconds until the last worker has joined."""


@dataclass(slots=True)
class Window:
    """What was counted during a window.

    Attributes:
        seconds: Its length.
        cpu: Seconds of CPU that each server used.
        commands: Number of calls of each command, as the server counts them; scripts' own calls included.
        requests: Number of requests from clients: scripts and blocking waits.
        calls: Number of calls of each script, as the workers count them.
    """

    seconds: float
    cpu: list[float]
    commands: dict[str, int]
    calls: dict[str, int]

    def each_second(self, count: float) -> float:
        """A count per second."""
        return count / self.seconds

    @property
    def cpu_share(self) -> float:
        """The part of a core that the servers used together."""
        return sum(self.cpu) / self.seconds

    @property
    def busiest(self) -> float:
        """The part of a core that the busiest server used."""
        return max(self.cpu) / self.seconds

    @property
    def waits(self) -> int:
        """Number of blocking waits that ended."""
        return self.commands.get("bzpopmin", 0)

    @property
    def requests(self) -> int:
        """Number of requests from clients: scripts, blocking waits and greetings."""
        return sum(self.commands.get(name, 0) for name in ("evalsha", "evalsha_ro", "bzpopmin", "info"))


@dataclass(slots=True)
class Jobs:
    """The jobs of one step: how many have run, and how long each waited, in seconds."""

    ended: int = 0
    waits: list[float] = field(default_factory=list)

    async def run(self, asked: float) -> None:
        self.waits.append(time.monotonic() - asked)
        self.ended += 1


class Scene:
    """One number of workers on one server or cluster.

    Args:
        servers: The servers.
        workers: How many workers.
        lanes: How many lanes the queue has.
        slots: How many jobs each worker runs at once.
    """

    def __init__(self, servers: Servers, *, workers: int, lanes: int, slots: int) -> None:
        self._servers = servers
        self._config = JobConfig(url=servers.url, queues=(QUEUE,), slots=slots)
        self._lanes = [Keyspace(self._config.namespace).lane(QUEUE, index) for index in range(lanes)]
        self._registry = Registry()
        self.jobs = Jobs()
        self._registry.register(self.jobs.run, name="scale.run", queue=QUEUE)
        self._calls = Calls()
        self._fleet = AsyncFleet(servers.url, registry=self._registry)
        at = target(servers.url)
        self._workers = [
            SimulatedWorker(at, self._config, self._registry, self._calls, self._lanes) for _ in range(workers)
        ]
        self._lags: list[float] = []

    async def start(self) -> None:
        """Start the workers, and wait until each is known."""
        await self._fleet.store.run(open_queue(Keyspace(self._config.namespace), QUEUE, len(self._lanes)))
        await asyncio.wait_for(at_most(AT_ONCE, [worker.start() for worker in self._workers]), STARTING)
        deadline = time.monotonic() + STARTING
        while len(await self._fleet.workers()) < len(self._workers):
            if time.monotonic() > deadline:
                raise Trouble(f"only {len(await self._fleet.workers())} of {len(self._workers)} workers have joined")
            await asyncio.sleep(TICK)  # between looks
        await asyncio.sleep(self._config.beat)  # each worker learns how many share the ticks

    async def idle(self, seconds: float) -> Window:
        """Nothing to do."""
        return await self._window(asyncio.sleep(seconds))

    async def load(self, rate: int, seconds: float) -> Window:
        """A steady rate of jobs, until the last one has ended."""
        self.jobs.waits.clear()
        return await self._window(self._produce(rate, seconds))

    async def _produce(self, rate: int, seconds: float) -> None:
        """Enqueue at a steady pace, in parts of a tick."""
        began, sent, total = time.monotonic(), 0, round(rate * seconds)
        goal = self.jobs.ended + total
        while sent < total:
            due = min(total, round(rate * (time.monotonic() - began)))
            if due > sent:
                jobs = [Job("run", "scale.run", (time.monotonic(),), queue=QUEUE) for _ in range(due - sent)]
                async for receipt in self._fleet.enqueue_many(jobs):
                    if receipt.error is not None:
                        raise Trouble(f"a job was refused: {receipt.error}")
                sent = due
            asked = time.monotonic()
            await asyncio.sleep(TICK)
            self._lags.append(time.monotonic() - asked - TICK)
        deadline = time.monotonic() + STARTING
        while self.jobs.ended < goal:
            if time.monotonic() > deadline:
                raise Trouble(f"{goal - self.jobs.ended:,} of {total:,} jobs did not run")
            await asyncio.sleep(TICK)  # between looks

    async def _window(self, work: Awaitable[None]) -> Window:
        self._calls.by_script.clear()
        commands, before, began = self._servers.commands(), self._servers.cpu(), time.monotonic()
        await work
        seconds = time.monotonic() - began
        cpu = [after - earlier for after, earlier in zip(self._servers.cpu(), before, strict=True)]
        return Window(seconds, cpu, self._servers.commands() - commands, dict(self._calls.by_script))

    @property
    def lag(self) -> float:
        """How late the bench's own loop is at worst: with much of it, the waits of the jobs say nothing."""
        return max(self._lags, default=0.0)

    async def stop(self) -> None:
        await at_most(AT_ONCE, [worker.stop() for worker in self._workers])
        await self._fleet.aclose()
