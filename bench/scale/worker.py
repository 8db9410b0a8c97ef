"""A simulated worker: the parts of a worker that talk to Redis, on the event loop of the bench.

It claims, runs and settles jobs with a real `Engine`, sends heartbeats, renews leases, ticks lanes and listens for
commands, each over the connections that a worker with one child has. Only the processes are missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.metrics.tally import Mute
from jobfleet.services.duties.leases import Leases, shared_spacing
from jobfleet.services.duties.relay import Relay
from jobfleet.services.long_lived import start
from jobfleet.store.aio import AsyncStore, cancelled
from jobfleet.store.call import Call
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.target import Target
from jobfleet.worker.child.engine import Engine
from jobfleet.worker.in_process import listen_for_cancels
from jobfleet.worker.ipc.lease_board import LeaseBoard, board_capacity
from jobfleet.worker.ipc.protocol import kind_of, new_worker_id
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.supervisor.heartbeat import Heartbeat
from jobfleet.worker.supervisor.leases import LeaseRenewer

log = logging.getLogger("bench.scale")
RELAY_SHARE = 5


class Calls:
    """Counts the calls of all simulated workers by script."""

    def __init__(self) -> None:
        self.by_script: Counter[str] = Counter()

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        del seconds
        for call in calls:
            self.by_script[call.script.name] += 1

    def stumbled(self, error: BaseException) -> None:
        self.by_script[f"error {type(error).__name__}"] += 1


class SimulatedWorker:
    """One worker with one child.

    Args:
        at: The server.
        config: The settings.
        registry: The functions.
        calls: Counts what the worker asks.
        lanes: The lanes that it serves.
    """

    def __init__(self, at: Target, config: JobConfig, registry: Registry, calls: Calls, lanes: Sequence[Lane]) -> None:
        self._config = config
        self._registry = registry
        self._queues = list(config.queues)
        self._lanes = lanes
        self._id = new_worker_id()
        self._keys = Keyspace(config.namespace)
        self._stores = [AsyncStore(at, patience=None, recorder=calls, needs_primary=True) for _ in range(3)]
        child, self._store, renewals = self._stores
        board = LeaseBoard(None, board_capacity(config.slots))
        self._board = board
        handlers = Handlers(registry, (), config)
        self._engine = Engine(
            config, handlers, child=f"{self._id}.0", board=board, store=child, tally=Mute(), on_buried=self._buried
        )
        self._renewer = LeaseRenewer(renewals, self._keys, lease=config.lease, timeout=config.renewal_timeout)
        self._heartbeat = Heartbeat(self._store, self._keys, config, self._id)
        self._duties = (
            Leases(self._store, self._keys, config, Mute(), spacing=self._share),
            Relay(self._store, self._keys, config, Mute(), spacing=lambda: RELAY_SHARE * self._share()),
        )
        self._tasks: list[asyncio.Task[None]] = []

    def _share(self) -> float:
        return shared_spacing(self._heartbeat.workers, self._config.lease)

    def _buried(self) -> None:
        log.error("worker.buried %s: this machine is too slow for so many workers", self._id)

    async def start(self) -> None:
        """Connect, announce the worker and begin to claim."""
        kind = kind_of(self._registry.functions, self._queues)
        self._engine.set_kind(kind)
        await self._engine.router.look()
        await self._beat(kind.id)
        self._engine.start(self._lanes)
        for duty in self._duties:
            duty.start()
        self._tasks = [
            start(partial(self._beat_on, kind.id), log, "heartbeat"),
            start(self._renew_on, log, "renewal"),
            start(self._listen, log, "commands"),
        ]

    async def _listen(self) -> None:
        await listen_for_cancels(self._store, self._keys, f"{self._id}.0", self._cancel, self._renew)

    def _cancel(self, key: tuple[str, int], by: str) -> None:
        self._engine.cancel(key, by)

    async def _beat(self, kind: str) -> None:
        await self._heartbeat.beat(
            queues=self._queues,
            slots=self._config.slots,
            running=self._engine.running,
            children=1,
            state="running",
            processes=(),
            kinds=[kind],
        )

    async def _beat_on(self, kind: str) -> None:
        while True:
            await asyncio.sleep(self._config.beat)
            await self._beat(kind)
            await self._store.look_again()

    async def _renew(self) -> None:
        for news in await self._renewer.renew(self._board.read()):
            self._engine.renewed(news.standing, news.until)

    async def _renew_on(self) -> None:
        while True:
            await asyncio.sleep(self._config.renewal)
            await self._renew()

    async def stop(self) -> None:
        """Give back what runs, and disconnect."""
        await self._engine.drain(0.0)
        await cancelled(*self._tasks)
        for duty in self._duties:
            await duty.stop()
        with suppress(Exception):
            await self._heartbeat.leave()
        for store in self._stores:
            await store.close()


async def at_most(limit: int, works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await coroutines, at most `limit` at once."""
    room = asyncio.Semaphore(limit)

    async def one(work: Coroutine[Any, Any, None]) -> None:
        async with room:
            await work

    await asyncio.gather(*map(one, works))
