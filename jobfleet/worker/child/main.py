"""The main program of a child: it loads the user's modules, runs the engine, and obeys its supervisor.

It is started as ``python -m jobfleet.worker.child.main COMMANDS REPORTS BOARD STACKS ASKED`` with five inherited
descriptors. The settings come in the first frame.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.errors import EXIT_RECYCLED, EXIT_USAGE, ConfigError, JobfleetError, exit_fast
from jobfleet.functions.default_fleet import offer_settings
from jobfleet.functions.hooks import Hooks
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import REGISTRY, Registry
from jobfleet.logs import set_up_logs
from jobfleet.metrics.tally import Mute, Tally, tally_for
from jobfleet.outcome import Cancelled, TimedOut
from jobfleet.services.long_lived import ignore, leave_on, start, stay_on
from jobfleet.services.modules import load_modules, traceback_of
from jobfleet.store.aio import AsyncStore, cancelled
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import Target, target_of
from jobfleet.worker.child.engine import Engine
from jobfleet.worker.child.lanes import ServedQueues
from jobfleet.worker.child.stacks import write_on_request
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.ipc.protocol import END_LOADING, NOT_FOR_CHILDREN, Sender, frames, kind_of
from jobfleet.worker.ipc.usage import IS_SHOWN, own_usage, resident_bytes
from jobfleet.worker.run import hooks as process_hooks
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.interfaces import Verdict
from jobfleet.worker.run.log_capture import CURRENT, keep_capturing, start_capture
from jobfleet.worker.run.run import Key, Run

# The process of a child: its event loop, its standard streams, and what the processes of its jobs must not inherit.


log = logging.getLogger("jobfleet.worker")


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine on the fastest event loop that is installed.

    If a job has stopped the loop, the process ends at once. A clean shutdown would cancel the other jobs, and their
    ends would be charged to them.
    """
    factory = None
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(main)
        except JobfleetError:
            raise
        except BaseException:
            log.exception("worker.broken its event loop has ended")
            flush()
            os._exit(1)


def flush() -> None:
    """Flush the standard streams, which a job may have closed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError, AttributeError):
            stream.flush()


def keep_from_jobs(*descriptors: int) -> None:
    """Keep pipes and memory out of processes that jobs start: the supervisor waits until all holders have ended."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    os.register_at_fork(after_in_child=partial(_close, descriptors))


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)


EARLY = 0.9
"""The share of its jobs after which a child asks for a successor, which needs time to load the modules."""
JITTER = 0.1


class ChildAge:
    """When a child asks for a successor: after a number of jobs, at a memory size, or at an age.

    Args:
        config: Its limits.
        engine: Counts its jobs.
    """

    def __init__(self, config: JobConfig, engine: Engine) -> None:
        self._engine = engine
        self._max_jobs = config.max_jobs
        self._max_memory = config.max_memory
        self._max_age = config.max_age
        if self._max_age is not None:  # children start together, and must not be replaced together
            self._max_age *= random.uniform(1 - JITTER, 1 + JITTER)
        self._born = boottime()

    @property
    def reason(self) -> str:
        """Why it is time to go: jobs, memory or age; empty when it is not."""
        if self._max_jobs is not None and self._engine.taken >= self._max_jobs * EARLY:
            return "jobs"
        if self._max_age is not None and boottime() - self._born >= self._max_age:
            return "age"
        if self._max_memory is not None and resident_bytes() > self._max_memory:
            return "memory"
        return ""


CHECKS = 4
"""The number of checks within the allowed silence."""


class SupervisorWatch:
    """Notices when the supervisor falls silent, and when it sends frames again.

    The supervisor sends several frames per renewal interval, even if Redis is away. A child without a frame for a whole
    interval must not claim, because the leases of new jobs would end.

    Args:
        after: The allowed silence in seconds.
        on_change: Called with False when the supervisor is silent, and with True when it sends frames again.
    """

    def __init__(self, after: float, *, on_change: Callable[[bool], None]) -> None:
        self._after = after
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._heard_at = boottime()
        self._is_silent = False
        self._check_later()

    def heard(self) -> None:
        """A frame from the supervisor has arrived."""
        self._heard_at = boottime()
        if self._is_silent:
            self._is_silent = False
            log.info("worker.heard its supervisor is there again: claiming")
            self._on_change(True)

    def stop(self) -> None:
        """Stop the checks."""
        self._timer.cancel()

    def _check_later(self) -> None:
        self._due_at = boottime() + self._after / CHECKS
        self._timer = self._loop.call_later(self._after / CHECKS, self._check)

    def _check(self) -> None:
        now = boottime()
        # If this event loop was blocked, frames may be waiting: the supervisor was not silent then.
        is_on_time = now - self._due_at < self._after / CHECKS
        if is_on_time and not self._is_silent and now - self._heard_at > self._after:
            self._is_silent = True
            log.warning(
                "worker.unheard its supervisor is silent for %.1fs: claiming no more until it is heard", self._after
            )
            self._on_change(False)
        self._check_later()


STATE_EVERY = 1.0
ORPHAN_SHARE = 0.6
"""The share of a lease that an orphaned child still has for sure: the last renewal may be a third of a lease ago."""
ORPHAN_LEFT = 5.0
"""Seconds beyond a lease that an orphan has to give its jobs back, because Redis may be away too."""


class Child:
    """One child, from its first frame to its exit code.

    Args:
        commands: The frames from the supervisor.
        reports: Sends frames to the supervisor.
        board: The lease board, which it shares with the supervisor.
    """

    def __init__(self, commands: AsyncIterator[list[Any]], reports: Sender, board: LeaseBoard) -> None:
        self._commands = commands
        self._reports = reports
        self._board = board
        self._tally: Tally = Mute()
        self._over = asyncio.Event()
        self._hurry = asyncio.Event()
        self._grace: float | None = None
        self._is_quiet = False
        self._has_begun = False
        self._exit_code = 0
        self._child = ""
        self._examinations: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Run the child. Returns the exit code."""
        _, child, settings, modules, app_dir, self._is_quiet = await anext(self._commands)
        self._child = str(child)
        config = JobConfig(**settings)
        set_up_logs(config, worker=child, current=CURRENT.get, shows_day=False)
        # Python notices changes by the second, so a second change would be missed.
        sys.dont_write_bytecode |= config.reload
        offer_settings(config)
        loaded = self._load(modules, app_dir)
        if loaded is None:
            return EXIT_USAGE
        start_capture(owns_process=True)  # after the imports, so that logging.basicConfig in a module works
        modules_loaded, registry = loaded
        self._config, self._keys, self._functions = config, Keyspace.of(config), registry.functions
        self._serving = ServedQueues(
            registry.functions, chosen=config.queues, plain=lambda: int(config.allow_undecorated)
        )
        stay_on(END_LOADING)  # so that on_start hooks are not interrupted, and their on_stop hooks are called
        if not await self._warm_up(registry.hooks):
            return EXIT_USAGE
        self._report_functions()
        handlers = Handlers(registry, modules_loaded, config)
        self._grace = config.grace
        self._tally = tally_for(config.metrics_port)
        if self._keys.seals is not None:
            self._tally.count_keys(self._keys.seals.sealer.counted)
        self._store = store = AsyncStore(
            self._target(),
            patience=None,
            connect_timeout=config.connect_timeout,
            socket_timeout=config.socket_timeout,
            recorder=self._tally if self._tally.is_on else None,
            needs_primary=True,
        )
        self._engine = Engine(
            config,
            handlers,
            child=child,
            board=self._board,
            store=store,
            tally=self._tally,
            modules=modules,
            with_quarantine=True,
            on_buried=self._buried,
            on_condemned=self._condemned,
            on_lost=lambda key: self._reports.send("lost", *key),
            on_stale=lambda: self._reports.send("stale"),
        )
        self._age = ChildAge(config, self._engine)
        self._engine.limit(config.max_jobs, on_spent=lambda: self._retire("jobs"))
        self._show_alive()
        watch = SupervisorWatch(max(config.renewal, 3 * config.alive_every), on_change=self._engine.set_attended)
        obey_task = self.start_to_obey(watch)  # before it serves, because the command to stop may have come already
        report_task = await self._begin()
        await self._over.wait()
        await self._engine.drain(self._grace, hurry=self._hurry)
        if report_task is not None:
            report_task.cancel()
        self._report_state()
        obey_task.cancel()
        await process_hooks.stop(registry.hooks)
        await store.close()
        self._alive_timer.cancel()
        self._board.turn(0.0)
        return self._exit_code

    def _target(self) -> Target:
        """The server; with ``--chaos``, exchanges with it may fail."""
        at, rate = target_of(self._config), self._config.chaos
        if not rate:
            return at
        from jobfleet.worker.ipc.chaos import Chaos  # for staging

        chaos = Chaos(
            rate,
            self._config.chaos_seed,
            child=self._child,
            held=lambda: [one.id for one in self._board.read()],
            report=lambda kind, ids: self._reports.send("chaos", kind, ids),
        )
        return replace(at, watcher=chaos)

    async def _begin(self) -> asyncio.Task[None] | None:
        """Begin to serve, and return the task that reports; return None if the command to stop comes before."""
        serving, over = asyncio.ensure_future(self._serve()), asyncio.ensure_future(self._over.wait())
        await asyncio.wait((serving, over), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not serving.done():  # Redis may be away for long
            await cancelled(serving)
            return None
        return await serving

    async def _serve(self) -> asyncio.Task[None] | None:
        lanes = await self._serving.lanes(self._store, self._keys, self._config)
        self._engine.set_kind(self._kind)
        await self._engine.router.look()
        await self._engine.router.return_parked(lanes)
        if self._over.is_set():
            return None
        self._has_begun = True
        if self._is_quiet:
            await self._engine.quiet()
            self._engine.serve(lanes)
        else:
            self._engine.start(lanes)
        self._reports.send("serving")
        return start(self._report_periodically, log, "reports")

    def _load(self, modules: list[str], app_dir: str) -> tuple[list[ModuleType], Registry] | None:
        """Import the user's modules. Errors are sent to the supervisor."""
        try:
            loaded, registry = load_modules(
                modules, app_dir, on_import=lambda name: self._reports.send("importing", name)
            )
        except ConfigError as error:
            self._reports.send("refused", str(error), error.shown)
            return None
        registry = registry or REGISTRY
        self._reports.send("loaded", {module.__name__: _count(registry, module.__name__) for module in loaded})
        return loaded, registry

    async def _warm_up(self, hooks: Hooks) -> bool:
        """Call the `on_start` hooks. Errors are sent to the supervisor."""
        try:
            await process_hooks.start(hooks)
        except process_hooks.StartHookFailed as failed:
            self._reports.send("refused", str(failed), traceback_of(failed.__cause__ or failed))
            return False
        return True

    def _report_functions(self) -> None:
        """Send the known functions and the served queues to the supervisor."""
        known = {name: function_record(function) for name, function in list(self._functions.items())}
        self._kind = kind_of(self._functions, self._serving.queues)
        self._reports.send("ready", known, self._serving.queues, *self._kind)

    async def _look_for_functions(self) -> None:
        """Publish functions that were registered since the last check, and serve their queues."""
        if self._serving.look():
            self._report_functions()
            self._engine.set_kind(self._kind)
            await self._serve_again()

    async def _serve_again(self) -> None:
        """Serve the present queues; store their declared limits again."""
        try:
            lanes = await self._serving.lanes(self._store, self._keys, self._config)
        except ConfigError as error:
            log.error("limit.refused %s", error)
            return
        await self._engine.router.return_parked(lanes)
        self._engine.serve(lanes)

    def start_to_obey(self, watch: SupervisorWatch) -> asyncio.Task[None]:
        """Obey the frames of the supervisor. A frame that fails does not end this."""
        return start(partial(self._obey, watch), log, "commands")

    async def _obey(self, watch: SupervisorWatch) -> None:
        async for word, *rest in self._commands:
            watch.heard()
            match word, rest:
                case "renewed", [until, pairs]:
                    self._engine.renewed(map(tuple, pairs), until)
                case "lost", [pairs]:
                    task = asyncio.ensure_future(self._examine([(job_id, token) for job_id, token in pairs]))
                    self._examinations.add(task)
                    task.add_done_callback(self._examinations.discard)
                case "cancel", [job_id, token, by]:
                    self._engine.cancel((job_id, token), by)
                case "server", [server]:
                    if self._store.server not in (None, server):
                        self._looking = asyncio.ensure_future(self._store.look_again())
                case "forgotten", []:
                    self._restoring = asyncio.ensure_future(self._serve_again())
                case (("lanes" | "kinds"), [news]):
                    self._learn(word, news)
                case (("quiet" | "resume"), []):
                    await self._pause(is_quiet=word == "quiet")
                case "drain", [grace]:
                    self._drain(grace)
                case "hurry", []:
                    self._hurry.set()
        watch.stop()
        log.error("worker.orphaned child=%s its supervisor is gone: claiming no more", self._child)
        self._drain(self._config.lease * ORPHAN_SHARE)
        asyncio.get_running_loop().call_later(self._config.lease + ORPHAN_LEFT, os._exit, 1)

    async def _pause(self, *, is_quiet: bool) -> None:
        """Stop claiming, or claim again."""
        self._is_quiet = is_quiet
        if not self._has_begun:
            return
        if is_quiet:
            await self._engine.quiet()
        elif not self._over.is_set():
            self._engine.resume()

    async def _examine(self, keys: list[Key]) -> None:
        """Stop runs without a lease, and report when it is known which of them were lost."""
        await self._engine.leases_gone(keys)
        self._reports.send("examined")

    async def _report_periodically(self) -> None:
        """Send the state to the supervisor every second, and ask for a successor when it is time."""
        while True:
            await asyncio.sleep(0.05 if self._config.burst else STATE_EVERY)
            self._report_state()
            await self._look_for_functions()
            keep_capturing()
            if self._config.burst and self._engine.is_idle:
                self._grace = 0.0
                self._over.set()
            if reason := self._age.reason:
                self._retire(reason)

    def _learn(self, word: str, news: Any) -> None:
        """Apply news of the fleet: the number of lanes of queues, or the live kinds of workers."""
        if word == "kinds":
            self._engine.router.heard(news)
            return
        serving = self._serving
        lanes = [self._keys.lane(queue, at) for queue in serving.queues for at in range(news.get(queue, 1))]
        self._engine.serve([lane for lane in lanes if lane not in serving.away])

    def _retire(self, reason: str) -> None:
        """Ask for a successor. The supervisor sends ``drain`` when the successor serves."""
        if not self._over.is_set():
            self._exit_code = EXIT_RECYCLED
            self._reports.send("retire", reason)

    def _drain(self, grace: float | None) -> None:
        """Start to drain, or shorten the grace period."""
        if not self._over.is_set():
            self._grace = grace
            self._over.set()
        elif grace is not None:
            asyncio.get_running_loop().call_later(grace, self._hurry.set)

    def _show_alive(self) -> None:
        """Show the supervisor that the event loop is alive."""
        self._board.turn(boottime())
        self._alive_timer = asyncio.get_running_loop().call_later(self._config.hang_after / 4, self._show_alive)

    def _report_state(self) -> None:
        if self._tally.is_on:
            self._engine.count_starts()
        counts = self._engine.runs.take() if self._engine.runs is not None else ()
        self._reports.send("state", self._engine.running, self._tally.take(), counts)
        if not IS_SHOWN:
            self._board.use(own_usage())
        if self._tally.is_on:
            self._reports.send("pulse", self._engine.pulse)

    def _condemned(self, run: Run, verdict: Verdict) -> None:
        """Ask the supervisor to end this process, because nothing else ends the run."""
        match verdict:
            case TimedOut(limit):
                self._reports.send("condemned", run.id, run.token, "timeout", limit)
            case Cancelled(by):
                self._reports.send("condemned", run.id, run.token, "cancelled", by)

    def _buried(self) -> None:
        log.error("worker.buried the fleet believes this child dead: leaving")
        self._exit_code = 1
        self._over.set()


def _count(registry: Registry, module: str) -> int:
    """The number of job functions of a module and its submodules."""
    places = (function.__module__ for function in registry.functions.values())
    return sum(place == module or place.startswith(f"{module}.") for place in places)


def main() -> None:
    """Run a child process."""
    exit_fast()
    commands, reports, board, stacks, asked = (int(number) for number in sys.argv[1:6])
    ignore([number for number in NOT_FOR_CHILDREN if number != END_LOADING])
    leave_on(END_LOADING)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)  # the supervisor reads and logs it
    sender = Sender(reports)
    shared = LeaseBoard(board)
    os.close(board)
    keep_from_jobs(commands, reports, stacks, asked)

    async def run_child() -> int:
        write_on_request(asked, stacks)
        return await Child(frames(commands), sender, shared).run()

    try:
        code = run_loop(run_child())
    except JobfleetError as error:
        sender.send("refused", str(error), "")
        code = EXIT_USAGE
    flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
