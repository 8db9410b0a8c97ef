"""A worker inside the calling process: for scripts, notebooks and tests.

The event loop runs in its own thread. A second thread does the work of the supervisor (heartbeat, renewals, ticks), so
that a blocked loop keeps its leases. Only code that holds the GIL can block that thread.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from os import getpid
from typing import Any, Protocol

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.events import CancelRequest, read_control
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import JobFunction
from jobfleet.logs import contain_handler_errors
from jobfleet.metrics.outage import Outage
from jobfleet.metrics.tally import Mute
from jobfleet.model.option_types import Items
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.services.duties.cron_standin import CronStandin
from jobfleet.services.duties.leases import Leases, shared_spacing
from jobfleet.services.long_lived import start
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore, cancelled
from jobfleet.store.channels import AsyncChannels
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.sync import Store
from jobfleet.worker.child.engine import Engine
from jobfleet.worker.child.lanes import ServedQueues
from jobfleet.worker.interruption import Stop, announce, handles_signals, signals_handled
from jobfleet.worker.ipc.lease_board import LeaseBoard, board_capacity
from jobfleet.worker.ipc.protocol import IDLE, Kind, kind_of, new_worker_id
from jobfleet.worker.ipc.usage import Process
from jobfleet.worker.run import hooks as process_hooks
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.log_capture import start_capture, stop_capture
from jobfleet.worker.supervisor.heartbeat import Heartbeat, RunTotals
from jobfleet.worker.supervisor.leases import MOST, Connection, LeaseRenewer, News

log = logging.getLogger("jobfleet.worker")


class Client(Protocol):
    """What a worker inside a process needs of the client that starts it."""

    @property
    def config(self) -> JobConfig:
        """The settings."""

    @property
    def context(self) -> FleetContext:
        """The settings, keys and functions."""

    @property
    def store(self) -> Store | AsyncStore:
        """The connection."""


def run_worker(
    fleet: Client,
    *,
    queues: Items[str] | Mapping[str, int] = (),
    slots: int | None = None,
    burst: bool = False,
    stop: threading.Event | None = None,
    with_reaper: bool = False,
    allow_undecorated: bool | None = None,
) -> None:
    """Run a worker until `stop` is set, or with `burst` until nothing is left to do.

    In the main thread, Ctrl-C and TERM drain the worker and end it; a second signal ends it now. A program that handles
    these signals itself, and a burst, are not affected. If this program has notification channels, or the settings name
    an archive, the worker has these duties of a reaper too.

    Args:
        fleet: The fleet, with its server, settings and functions.
        queues: The queues to serve. The default is the queues of the registered functions; a function without a queue
            uses ``default``. A mapping gives weights, for a fleet whose `queue_order` is ``weighted``.
        slots: How many jobs to run at once; the default is the setting `slots`.
        burst: Return when no due job is left.
        stop: Ends the worker from another thread. A `Stop` may have its own grace period.
        with_reaper: Do the reaper's duties too (recurring jobs, flows, retention), and publish the functions.
        allow_undecorated: Run public functions of ``__main__`` that are not registered; the default is the setting of
            this name. Functions that this program has enqueued itself always run.

    Raises:
        ConfigError: Limits that its functions declare contradict each other, or cannot apply to their queues.
        StartHookFailed: An `on_start` hook has raised an exception.
    """
    from dataclasses import replace

    settings = fleet.config
    config = replace(
        settings,
        burst=burst,
        slots=settings.slots if slots is None else slots,
        allow_undecorated=settings.allow_undecorated if allow_undecorated is None else allow_undecorated,
    )
    if isinstance(queues, Mapping):
        config = replace(config, queues=dict(queues))
    contain_handler_errors()
    registry = fleet.context.registry
    registry.workers += 1
    try:
        inside = _Inside(fleet, config, queues, stop=stop, with_reaper=with_reaper)
        asyncio.run(inside.run_with_signals() if handles_signals() and not burst else inside.run())
    finally:
        registry.workers -= 1


class _Inside:
    def __init__(
        self,
        fleet: Client,
        config: Any,
        queues: Iterable[str],
        *,
        stop: threading.Event | None,
        with_reaper: bool,
    ) -> None:
        self._fleet = fleet
        self._config = config
        self._with_reaper = with_reaper
        self._stop = stop if stop is not None else Stop()
        self._hurried = self._stop.hurried if isinstance(self._stop, Stop) else threading.Event()
        registry = fleet.context.registry
        self._functions = registry.functions
        self._handlers = Handlers(registry, (sys.modules["__main__"],), config, own=registry.enqueued)
        self._serving = ServedQueues(
            registry.functions,
            chosen=queues,
            plain=lambda: len(registry.enqueued) + config.allow_undecorated,
            declares=not config.burst,
        )
        self._published: set[str] = set()
        self._forgotten = threading.Event()  # Redis has lost its data, declared limits too
        self._worker = new_worker_id()
        self._board = LeaseBoard(None, board_capacity(config.slots))
        self._tally = Mute()
        self._examinations: set[asyncio.Task[None]] = set()
        self._connection = Connection(
            fleet.store.at.shown, log, self._tally, held=self._held, is_examined=lambda: not self._examinations
        )

    def _store(self, socket_timeout: float | None = None) -> AsyncStore:
        return AsyncStore(
            self._fleet.store.at,
            patience=None,
            socket_timeout=socket_timeout or self._config.socket_timeout,
            needs_primary=True,
        )

    async def _first_lanes(self, store: AsyncStore, keys: Keyspace) -> list[Lane]:
        """The lanes at the start. If Redis is away, this waits for it and logs that."""
        waiting = Outage(store.at.shown, log, self._tally, meanwhile=lambda: "This worker starts when Redis answers")
        store.recorder = waiting
        try:
            return await self._serving.lanes(store, keys, self._config)
        except BaseException:
            await store.close()
            raise
        finally:
            store.recorder = None

    async def run_with_signals(self) -> None:
        """Run until a signal arrives, too."""
        with signals_handled(self._interrupted):
            await self.run()

    def _interrupted(self) -> None:
        if self._stop.is_set():
            self._hurried.set()
        else:
            announce(self._grace)
            self._stop.set()

    async def run(self) -> None:
        hooks = self._handlers.hooks
        await process_hooks.start(hooks)
        try:
            await self._run()
        finally:
            await process_hooks.stop(hooks)

    async def _run(self) -> None:
        keys = Keyspace.of(self._config)
        store = self._store()
        lanes = await self._first_lanes(store, keys)
        if not self._serving.queues:
            log.warning(IDLE)
        child = f"{self._worker}.0"
        engine = Engine(
            self._config,
            self._handlers,
            child=child,
            board=self._board,
            store=store,
            tally=self._tally,
            modules=modules_of(self._handlers),
            on_buried=self._stop.set,
            on_lost=self._connection.lost,
            on_stale=self._connection.renew_now,
        )
        over = threading.Event()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._supervise(keys, engine, asyncio_loop, over)),
            name="jobfleet-keeper",
            daemon=True,
        )
        asyncio_loop = asyncio.get_running_loop()
        looking = start(partial(store.keep_looking, self._config.beat), log, "address")
        start_capture()
        self._kind = self._kind_now()
        engine.set_kind(self._kind)
        await engine.router.look()
        await engine.router.return_parked(lanes)
        engine.start(lanes)
        thread.start()
        try:
            while not self._stop.is_set() and not (self._config.burst and engine.is_idle):
                await asyncio.sleep(0.02)
                if self._serving.look() or self._forgotten.is_set():
                    self._forgotten.clear()
                    self._kind = self._kind_now()
                    engine.set_kind(self._kind)
                    lanes = await self._serving.lanes(store, keys, self._config)
                    await engine.router.return_parked(lanes)
                    engine.serve(lanes)
        finally:
            hurry = asyncio.Event()
            hurrying = asyncio.ensure_future(self._hurry_on(hurry))
            await engine.drain(0.0 if self._config.burst else self._grace, hurry=hurry)
            hurrying.cancel()
            stop_capture()
            over.set()
            while thread.is_alive():  # noqa: ASYNC110 - where the program ends, no pool takes a `join` any more
                await asyncio.sleep(0.005)
            looking.cancel()
            await store.close()

    async def _hurry_on(self, hurry: asyncio.Event) -> None:
        while not self._hurried.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.02)
        hurry.set()

    @property
    def _grace(self) -> float:
        """Seconds that running jobs may take to end."""
        own = self._stop.grace if isinstance(self._stop, Stop) else None
        return float(self._config.grace) if own is None else own

    async def _supervise(
        self, keys: Keyspace, engine: Engine, loop: asyncio.AbstractEventLoop, over: threading.Event
    ) -> None:
        store = self._store()
        timeout = self._config.renewal_timeout
        renewals = self._store(timeout * MOST)
        renewer = LeaseRenewer(renewals, keys, lease=self._config.lease, timeout=timeout)
        store.recorder = renewals.recorder = self._connection.outage
        runs = RunTotals(engine.runs)
        presence = Heartbeat(store, keys, self._config, self._worker, on_forgotten=self._forgotten.set, runs=runs)
        leases = Leases(
            store, keys, self._config, self._tally, spacing=lambda: shared_spacing(presence.workers, self._config.lease)
        )

        def cancel(key: tuple[str, int], by: str) -> None:
            loop.call_soon_threadsafe(engine.cancel, key, by)

        services: list[Service] = [leases]
        if self._with_reaper:
            services += reaping(store, keys, self._config, self._tally, self._worker)
        standin = CronStandin(store, self._config, self._tally, log, process=self._worker, functions=self._recurring)
        for service in services:
            service.start()
        duties = [
            start(partial(self._beat_on, presence, engine, loop), log, "heartbeat"),
            start(partial(self._renew_on, renewer, engine, loop), log, "renewal"),
            start(partial(store.keep_looking, self._config.beat, is_logged=False), log, "address"),
            start(partial(renewals.keep_looking, self._config.beat, is_logged=False), log, "address"),
        ]
        renew = partial(self._renew, renewer, engine, loop)
        listen = partial(listen_for_cancels, store, keys, f"{self._worker}.0", cancel, renew)
        duties.append(start(listen, log, "cancels"))
        reporting = Reporting(store, keys, self._config, self._tally, self._worker)
        if not self._config.burst:
            duties += reporting.started(log)
        if not (self._with_reaper or self._config.burst):
            duties.append(start(standin.watch, log, "cron"))
        try:
            while not over.is_set():  # noqa: ASYNC110 - a thread sets it; a pool's would hold up the program's end
                await asyncio.sleep(0.02)
        finally:
            await cancelled(*duties)  # Redis may be away: then none would come to its end by itself
            await standin.stop()
            await reporting.stop()
            for service in services:
                await service.stop()
            with suppress(JobfleetError):
                await presence.leave()
            await store.close()
            await renewals.close()

    def _records(self) -> dict[str, bytes]:
        """The functions to publish: all of them with the duties of a reaper, else those that recur or have limits."""
        return {
            name: function_record(function)
            for name, function in list(self._functions.items())
            if name not in self._published
            and (self._with_reaper or self._is_recurring(function) or self._has_limits(function))
        }

    def _recurring(self) -> dict[str, bytes]:
        return {
            name: function_record(function)
            for name, function in list(self._functions.items())
            if name in self._published and self._is_recurring(function)
        }

    def _has_limits(self, function: JobFunction[..., Any, Any]) -> bool:
        """Whether `explain` needs the record of a function to name what its jobs wait for."""
        return not self._config.burst and (function.limit is not None or function.gates is not None)

    def _is_recurring(self, function: JobFunction[..., Any, Any]) -> bool:
        return not self._config.burst and function.cron is not None

    def _held(self) -> list[tuple[str, int]]:
        return [(one.id, one.token) for one in self._board.read()]

    async def _beat_on(self, presence: Heartbeat, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            try:
                await self._beat(presence, engine, loop)
            except JobfleetError as error:
                log.error("worker.stumbled %s", error)
            sent, until = self._kind, monotonic() + self._config.beat
            while self._kind is sent and monotonic() < until:  # noqa: ASYNC110 - the other thread changes it
                await asyncio.sleep(0.05)

    def _kind_now(self) -> Kind:
        """The functions that this worker knows, with the plain functions that the program has enqueued."""
        plain = list(self._handlers.registry.enqueued)
        return kind_of(self._functions, self._serving.queues, plain=plain)

    async def _renew_on(self, renewer: LeaseRenewer, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        connection = self._connection
        while True:
            began = monotonic()
            connection.begin_round()
            try:
                for news in await self._renew(renewer, engine, loop):
                    connection.renewed(news)
            except JobfleetError as error:
                log.error("worker.stumbled %s", error)
                connection.not_renewed()
            connection.end_round()
            await connection.pause(max(0.0, self._config.renewal - (monotonic() - began)))

    async def _beat(self, presence: Heartbeat, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        kind = self._kind
        kinds = await presence.know((kind,))
        loop.call_soon_threadsafe(engine.router.heard, kinds)
        if fresh := self._records():
            presence.publish(fresh)
            self._published |= set(fresh)
        await presence.beat(
            queues=self._serving.queues,
            slots=self._config.slots,
            running=engine.running,
            children=1,
            state="running",
            undecorated=self._handlers.undecorated,
            kinds=[kind.id],
            processes=[Process(f"{self._worker}.0", getpid(), "running", engine.running, self._config.slots, None)],
        )
        if isinstance(self._stop, Stop):
            self._stop.ready.set()

    async def _renew(self, renewer: LeaseRenewer, engine: Engine, loop: asyncio.AbstractEventLoop) -> list[News]:
        news = await renewer.renew(self._board.read())
        lost = [one for part in news for one in part.lost]
        if lost:  # a job that was settled in the meantime is not on the board any more
            still = set(self._held())
            lost = [one for one in lost if one in still]
        for part in news:
            loop.call_soon_threadsafe(engine.renewed, part.standing, part.until)
        if lost or self._connection.outage.is_returning:
            task = asyncio.ensure_future(self._examine(engine, lost, loop))
            self._examinations.add(task)
            task.add_done_callback(self._examined)
        for part in news:
            for one in part.cancelled:
                loop.call_soon_threadsafe(engine.cancel, (one.id, one.token), one.by)
        return news

    async def _examine(self, engine: Engine, lost: list[tuple[str, int]], loop: asyncio.AbstractEventLoop) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(engine.leases_gone(lost), loop))

    def _examined(self, task: asyncio.Task[None]) -> None:
        self._examinations.discard(task)
        if not task.cancelled():
            self._connection.examined()


# The duties of a reaper and of a supervisor that a worker inside a program has.


LISTENED_FOR = 5.0
"""Seconds for which one read of the control channel waits."""
LOOK_EVERY = 0.5
"""Seconds between two checks whether the program has added notification channels."""


async def listen_for_cancels(
    store: AsyncStore,
    keys: Keyspace,
    child: str,
    on_cancel: Callable[[tuple[str, int], str], None],
    renew: Callable[[], Awaitable[object]],
) -> None:
    """Receive requests to cancel runs, until this is cancelled.

    Args:
        store: The connection, for its server.
        keys: The fleet's keys.
        child: The child whose runs may be cancelled.
        on_cancel: Called with each request: id and token of the run, and who has made the request.
        renew: Renews the leases when the subscription begins. Messages were missed before, and the reply of a renewal
            has the requests too.
    """
    channels = AsyncChannels(store.at)
    channels.subscribe((keys.control,))
    try:
        while True:
            for message in await channels.read(LISTENED_FOR):
                if message.text is None:
                    with suppress(JobfleetError):
                        await renew()
                    continue
                match read_control(message.text):
                    case CancelRequest(job, token, holder, by) if holder == child:
                        on_cancel((job, token), by)
                    case _:
                        pass
    finally:
        await channels.close()


def modules_of(handlers: Handlers) -> list[str]:
    """The modules that isolated processes load. ``__main__`` cannot be loaded."""
    return sorted({function.__module__ for function in handlers.isolated} - {"__main__"})


def reaping(store: AsyncStore, keys: Keyspace, config: Any, tally: Mute, process: str) -> list[Service]:
    """The duties of a reaper, except for the leases, which are the duty of each worker."""
    from jobfleet.services.duties.cron import Cron  # croniter is for those who use it
    from jobfleet.services.duties.dead import Dead, Rescues
    from jobfleet.services.duties.relay import Relay
    from jobfleet.services.duties.retention import Retention

    duties: list[Service] = [
        Cron(store, config, tally, process=process),
        Relay(store, keys, config, tally),
        Retention(store, keys, config, tally),
        Dead(store, keys, config, tally),
        Rescues(store, keys, config, tally),
    ]
    if config.samples:
        from jobfleet.services.duties.samples import Samples  # for those who do not turn them off

        duties.append(Samples(store, keys, config, tally, process=process))
    return duties


class Reporting:
    """Notifies people, fills the archive and relays the outbox, as far as the program has them.

    Args:
        store: The connection.
        keys: The fleet's keys.
        config: The settings.
        tally: Counts the metrics.
        process: The id of the worker.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, config: Any, tally: Mute, process: str) -> None:
        self._store = store
        self._keys = keys
        self._config = config
        self._tally = tally
        self._process = process
        self._services: list[Service] = []

    def started(self, log: logging.Logger) -> list[asyncio.Task[None]]:
        """Start all parts; return their tasks.

        Args:
            log: Gets the reports of failures.
        """
        parts = {"archive": self.archive, "outbox": self.outbox, "notify": self.notify}
        return [start(part, log, name) for name, part in parts.items()]

    async def archive(self) -> None:
        """Start to fill the archive, if there is one."""
        if self._config.archive_url is not None:
            from jobfleet.services.duties.archive import Archive

            self._start(Archive(self._store, self._keys, self._config, self._tally))

    async def outbox(self) -> None:
        """Start to relay the rows of the outbox, if there is one."""
        if self._config.outbox_url is not None:
            from jobfleet.services.duties.outbox import Outbox

            self._start(Outbox(self._store, self._config, self._tally))

    async def notify(self) -> None:
        """Start to notify people, as soon as there is a channel. The program may also add it later."""
        from jobfleet.services.duties.notify import Notify, channels_of

        while not (channels := channels_of(self._config)).rules:  # noqa: ASYNC110 - another thread adds them
            await asyncio.sleep(LOOK_EVERY)
        self._start(Notify(self._store, self._keys, self._config, self._tally, channels, consumer=self._process))

    def _start(self, service: Service) -> None:
        self._services.append(service)
        service.start()

    async def stop(self) -> None:
        """Stop the duties."""
        for service in self._services:
            await service.stop()
