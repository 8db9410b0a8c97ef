"""A worker inside the calling process: for scripts, notebooks and tests.

The event loop runs in a thread of its own; a second thread has the supervisor's part (beat, renew,
tick), so that a blocked loop keeps its leases. Only the GIL can keep that thread from its work.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jobfleet.errors import JobfleetError
from jobfleet.metrics.tally import Tally
from jobfleet.model import check_queue
from jobfleet.services.leases import Leases, shared_spacing
from jobfleet.services.pausing import catch_up
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.worker.board import Board
from jobfleet.worker.capture import start_capture, stop_capture
from jobfleet.worker.engine import Engine, board_capacity
from jobfleet.worker.handlers import Handlers
from jobfleet.worker.identity import new_worker_id
from jobfleet.worker.keeper import Keeper
from jobfleet.worker.presence import Presence

if TYPE_CHECKING:
    from jobfleet.client.sync import Fleet

log = logging.getLogger("jobfleet.worker")


def run_worker(
    fleet: Fleet,
    *,
    queues: Sequence[str] | Mapping[str, int] = (),
    slots: int | None = None,
    burst: bool = False,
    stop: threading.Event | None = None,
) -> None:
    """Run a worker until `stop` is set, or with `burst` until nothing is left to do.

    Args:
        fleet: Its server, settings and functions.
        queues: What to serve; by default the queues of the registered functions, and ``default``. With weights as a
            mapping, for a fleet whose `queue_order` is ``weighted``.
        slots: How many jobs to run at once.
        burst: Return when nothing that is due is left.
        stop: Ends it from another thread.
    """
    from dataclasses import replace

    config = fleet.config if slots is None else replace(fleet.config, slots=slots)
    if isinstance(queues, Mapping):
        config = replace(config, queues=dict(queues))
    asyncio.run(_Inside(fleet, config, queues, burst=burst, stop=stop).run())


class _Inside:
    def __init__(
        self, fleet: Fleet, config: Any, queues: Iterable[str], *, burst: bool, stop: threading.Event | None
    ) -> None:
        self._fleet = fleet
        self._config = config
        self._burst = burst
        self._stop = stop or threading.Event()
        registry = fleet.space.registry
        own = [str(function.given.get("queue") or "default") for function in registry.functions.values()]
        self._queues = list(dict.fromkeys([check_queue(name) for name in queues] or [*own, "default"]))
        self._worker = new_worker_id()
        self._board = Board(None, board_capacity(config.slots))
        self._tally = Tally()

    def _store(self) -> AsyncStore:
        return AsyncStore(self._fleet.store.at, patience=None, socket_timeout=self._config.socket_timeout)

    async def run(self) -> None:
        keys = Keyspace(self._config.namespace)
        store = self._store()
        lanes: list[Lane] = []
        for queue in self._queues:
            _, count = await store.run(open_queue(keys, queue, self._config.lanes.get(queue, 1)))
            lanes += [keys.lane(queue, index) for index in range(count)]
        await catch_up(store, keys, lanes)
        handlers = Handlers(self._fleet.space.registry, (), self._config)
        child = f"{self._worker}.0"
        engine = Engine(
            self._config,
            handlers,
            child=child,
            board=self._board,
            store=store,
            tally=self._tally,
            modules=_modules_of(handlers),
            on_buried=self._stop.set,
        )
        over = threading.Event()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._supervise(keys, engine, asyncio_loop, over)),
            name="jobfleet-keeper",
            daemon=True,
        )
        asyncio_loop = asyncio.get_running_loop()
        start_capture()
        engine.start(lanes)
        thread.start()
        try:
            while not self._stop.is_set() and not (self._burst and engine.is_idle):  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0.02)
        finally:
            await engine.drain(0.0 if self._burst else self._config.grace)
            stop_capture()
            over.set()
            await asyncio.to_thread(thread.join)
            await store.close()

    async def _supervise(
        self, keys: Keyspace, engine: Engine, loop: asyncio.AbstractEventLoop, over: threading.Event
    ) -> None:
        store = self._store()
        keeper = Keeper(store, keys, lease_us=round(self._config.lease * 1e6))
        presence = Presence(store, keys, self._config, self._worker)
        leases = Leases(
            store, keys, self._config, self._tally, spacing=lambda: shared_spacing(presence.workers, self._config.lease)
        )
        leases.start()
        duties = [
            asyncio.ensure_future(self._again(self._config.beat, lambda: self._beat(presence, engine))),
            asyncio.ensure_future(self._again(self._config.renewal, lambda: self._renew(keeper, engine, loop))),
        ]
        try:
            await asyncio.to_thread(over.wait)
        finally:
            for duty in duties:  # Redis may be away: then none would come to its end by itself
                duty.cancel()
            await asyncio.wait(duties)
            await leases.stop()
            with suppress(JobfleetError):
                await presence.leave()
            await store.close()

    @staticmethod
    async def _again(every: float, turn: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await turn()
            except JobfleetError as error:
                log.error("worker.stumbled %s", error)
            await asyncio.sleep(every)

    async def _beat(self, presence: Presence, engine: Engine) -> None:
        await presence.beat(
            queues=self._queues, slots=self._config.slots, running=engine.running, children=1, state="running"
        )

    async def _renew(self, keeper: Keeper, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        news = await keeper.renew(self._board.read())
        loop.call_soon_threadsafe(engine.renewed, news.standing, news.until)
        loop.call_soon_threadsafe(engine.lost, news.lost)
        for one in news.cancelled:
            loop.call_soon_threadsafe(engine.cancel, (one.id, one.token), one.by)


def _modules_of(handlers: Handlers) -> list[str]:
    """What isolated processes load: the modules of the functions that have them; ``__main__`` cannot be."""
    return sorted({function.__module__ for function in handlers.isolated} - {"__main__"})
