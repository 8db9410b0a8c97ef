"""The supervisor: a small parent that never imports user code.

It starts children and renews their leases, notices a death and settles it, says that the worker
lives, ticks the lanes, and passes signals on. Whatever user code does, this process goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.logs import set_up_logs
from jobfleet.metrics.tally import Tally
from jobfleet.services.leases import Leases, shared_spacing
from jobfleet.services.overdue import Overdue
from jobfleet.store.aio import AsyncStore
from jobfleet.store.connect import Target, target
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.worker.control import pass_on
from jobfleet.worker.engine import board_capacity
from jobfleet.worker.identity import new_worker_id
from jobfleet.worker.keeper import Keeper
from jobfleet.worker.kin import Kin
from jobfleet.worker.presence import Presence
from jobfleet.worker.scrape import Scrape
from jobfleet.worker.undertaker import Undertaker, how_it_died
from jobfleet.worker.wire import frames

log = logging.getLogger("jobfleet.worker")
EXIT_OK, EXIT_USAGE, EXIT_RECYCLED = 0, 2, 5
BACK_OFF = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
STEADY = 10.0
"""Seconds after which a child that dies is no sign of a crash loop."""
AFTER_GRACE = 5.0


class Supervisor:
    """One worker.

    Args:
        modules: What its children load.
        config: The settings.
        at: The server.
    """

    def __init__(self, modules: Sequence[str], config: JobConfig, at: Target) -> None:
        self._modules = list(modules)
        self._config = config
        self._worker = new_worker_id()
        self._keys = Keyspace(config.namespace)
        self._at = at
        self._store = AsyncStore(
            at, patience=None, connect_timeout=config.connect_timeout, socket_timeout=config.socket_timeout
        )
        self._tally = Tally()
        self._presence = Presence(self._store, self._keys, config, self._worker)
        self._leases = Leases(
            self._store,
            self._keys,
            config,
            self._tally,
            spacing=lambda: shared_spacing(self._presence.workers, self._config.lease),
        )
        self._keeper = Keeper(self._store, self._keys, lease_us=round(config.lease * 1e6))
        self._functions: dict[str, bytes] = {}
        overdue = Overdue(self._store, config, functions=lambda: self._functions, tally=self._tally)
        self._undertaker = Undertaker(self._store, self._keys, overdue)
        self._scrape = Scrape(config)
        self._kin: dict[int, Kin] = {}
        self._count = 0
        self._deaths = 0
        self._awaited = 0
        self._queues: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._state = "running"
        self._exit_code = EXIT_OK
        self._refusal: str | None = None
        self._all_gone = asyncio.Event()

    async def run(self) -> int:
        """Work until told to stop; answer the exit code."""
        loop = asyncio.get_running_loop()
        self._scrape.start()
        await self._beat(patience=self._config.patience)
        loop.add_signal_handler(signal.SIGCHLD, self._look_for_deaths)
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        loop.add_signal_handler(signal.SIGTSTP, self._quiet)
        loop.add_signal_handler(signal.SIGCONT, self._resume)
        loop.add_signal_handler(signal.SIGUSR1, self._dump)
        log.info(
            "worker.started worker=%s children=%d slots=%d url=%s",
            self._worker,
            self._config.processes,
            self._config.slots,
            self._at.shown,
        )
        for number in range(self._config.processes):
            self._spawn(number)
        self._leases.start()
        for duty in (self._beat_on(), self._renew_on(), self._watch_frozen(), pass_on(self._at, self._keys, self._kin)):
            self._keep(duty)
        await self._all_gone.wait()
        return await self._leave()

    async def _leave(self) -> int:
        await self._leases.stop()
        for task in list(self._tasks):
            task.cancel()
        with suppress(JobfleetError):
            await self._presence.leave()
        await self._store.close()
        self._scrape.close()
        if self._refusal is not None:
            print(self._refusal, file=sys.stderr)  # noqa: T201 - the one line that says why
        else:
            log.info("worker.stopped worker=%s", self._worker)
        return self._exit_code

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._let_go)
        return task

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("worker.stumbled %s", task.get_name(), exc_info=error)

    # --- children -------------------------------------------------------------------------------

    def _spawn(self, number: int) -> None:
        self._count += 1
        kin = Kin(f"{self._worker}.{self._count}", number, board_capacity(self._config.slots))
        self._kin[kin.pid] = kin
        settings = self._config.plain(url=self._at.url, processes=1)
        kin.hello(settings, self._modules, str(self._config.app_dir), quiet=self._state == "quiet")
        kin.hearing = self._keep(self._hear(kin))

    async def _hear(self, kin: Kin) -> None:
        async for word, *rest in frames(kin.reports):
            if word == "ready":
                functions, kin.queues = rest
                self._queues = list(dict.fromkeys([*self._queues, *kin.queues]))
                self._functions.update(functions)
                self._presence.publish(functions)
                await self._beat()
            elif word == "state":
                kin.running, delta = rest
                self._scrape.merge(delta)
            elif word == "refused":
                kin.refusal = (rest[0], rest[1])

    def _look_for_deaths(self) -> None:
        for kin in list(self._kin.values()):
            try:
                pid, status = os.waitpid(kin.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                continue
            if pid == 0:
                continue
            if os.WIFSTOPPED(status):
                kin.stopped_at = boottime()
                log.warning("child.frozen child=%s", kin.child)
            elif os.WIFCONTINUED(status):
                kin.stopped_at = None
            else:
                self._died(kin, status)

    def _died(self, kin: Kin, status: int) -> None:
        del self._kin[kin.pid]
        kin.reaped(status)
        code = kin.exit_code or 0
        # Who leaves by itself has cleared its board: else it was a job that ended the process.
        planned = kin.is_leaving or (code in (EXIT_OK, EXIT_RECYCLED) and not kin.posted())
        could_not_start = code == EXIT_USAGE and not kin.queues  # it says why in one line of its own
        if not planned and not could_not_start:
            log.error("child.died child=%s %s", kin.child, how_it_died(code))
            self._scrape.crashed(code)
        self._keep(self._bury(kin, how_it_died(code), planned=planned))
        if self._state == "stopping" or (self._config.burst and code == EXIT_OK):
            self._check_all_gone()
        else:
            steady = boottime() - kin.born > STEADY or code == EXIT_RECYCLED
            self._deaths = 0 if steady else self._deaths + 1
            self._awaited += 1
            self._keep(self._follow(kin, BACK_OFF[min(self._deaths, len(BACK_OFF) - 1)]))

    async def _bury(self, kin: Kin, reason: str, *, planned: bool) -> None:
        posted, lanes = kin.posted(), self._lanes(kin.queues or self._queues)
        kin.close()
        try:
            # Also one that left in peace: a claim whose answer it did not await may have run.
            settled = await self._undertaker.bury(kin.child, posted, lanes, reason, planned=planned)
            if settled:
                log.warning("child.buried child=%s jobs=%d", kin.child, settled)
        except JobfleetError as error:
            log.error("child.not_buried child=%s %s", kin.child, error)
        finally:
            self._check_all_gone()

    async def _follow(self, kin: Kin, after: float) -> None:
        """Start the successor of a dead child, unless it could not even start."""
        if kin.exit_code == EXIT_USAGE and kin.hearing is not None:
            await asyncio.wait((kin.hearing,), timeout=1.0)  # its last words may still be in the pipe
            if not kin.queues:
                self._awaited -= 1
                self._refuse(*(kin.refusal or ("The child could not start.", "")))
                return
        await asyncio.sleep(after)
        self._awaited -= 1
        if self._state != "stopping":
            self._spawn(kin.number)

    def _refuse(self, why: str, shown: str) -> None:
        if self._refusal is None:
            sys.stderr.write(shown)
            self._refusal, self._exit_code = why, EXIT_USAGE
        if self._state != "stopping":
            self._stop()
        self._check_all_gone()

    @property
    def _is_deserted(self) -> bool:
        """Whether no child is left, and none is to come."""
        return not self._kin and (self._state == "stopping" or (self._config.burst and not self._awaited))

    def _check_all_gone(self) -> None:
        if self._is_deserted:
            self._keep(self._set_gone())

    async def _set_gone(self) -> None:
        others = {task for task in self._tasks if task.get_coro().__qualname__.endswith("._bury")}  # type: ignore[union-attr]
        if others:
            await asyncio.wait(others, timeout=AFTER_GRACE)
        if self._is_deserted:
            self._all_gone.set()

    def _lanes(self, queues: Sequence[str]) -> list[Lane]:
        known = self._presence.queues
        return [self._keys.lane(queue, index) for queue in queues for index in range(known.get(queue, (1, 1))[1])]

    # --- duties ---------------------------------------------------------------------------------

    async def _beat(self, patience: float | None = None) -> None:
        running = sum(kin.running for kin in self._kin.values())
        slots = self._config.slots * self._config.processes
        work = self._presence.beat(
            queues=self._queues, slots=slots, running=running, children=len(self._kin), state=self._state
        )
        if patience is None:
            try:
                await work
            except JobfleetError as error:
                log.error("worker.not_heard %s", error)
            return
        self._store.patience = patience
        try:
            await work
        finally:
            self._store.patience = None

    async def _beat_on(self) -> None:
        while True:
            await self._beat()
            counts = {queue: count for queue, (_, count) in self._presence.queues.items()}
            if any(counts.get(queue, 1) > 1 for queue in self._queues):
                for kin in self._kin.values():
                    kin.tell("lanes", counts)
            self._scrape.worker(self._config, self._kin.values(), self._tally)
            await asyncio.sleep(self._config.beat)

    async def _renew_on(self) -> None:
        """Renew what the boards say; a frozen child's leases are left to run out."""
        while True:
            for kin in list(self._kin.values()):
                if kin.stopped_at is None:
                    await self._renew(kin)
            await asyncio.sleep(self._config.renewal)

    async def _renew(self, kin: Kin) -> None:
        try:
            news = await self._keeper.renew(kin.posted())
        except (JobfleetError, ValueError) as error:
            log.error("leases.not_renewed child=%s %s", kin.child, error)
            return
        kin.tell("renewed", news.until, news.standing)
        if news.lost:
            still = {(one.id, one.token) for one in kin.posted()}
            kin.tell("lost", [one for one in news.lost if one in still])
        for one in news.cancelled:
            kin.tell("cancel", one.id, one.token, one.by)

    async def _watch_frozen(self) -> None:
        """A child that stays frozen for a lease is killed: its jobs have been lost by then."""
        while True:
            await asyncio.sleep(min(1.0, self._config.lease / 10))
            for kin in list(self._kin.values()):
                if kin.stopped_at is not None and boottime() - kin.stopped_at >= self._config.lease:
                    log.error("child.killed child=%s frozen for a lease", kin.child)
                    kin.kill(signal.SIGKILL)
                    kin.stopped_at = None

    # --- signals --------------------------------------------------------------------------------

    def _stop(self) -> None:
        if self._state == "stopping":
            log.warning("worker.hurrying")
            for kin in self._kin.values():
                kin.tell("hurry")
            self._keep(self._end_stragglers(0.0))
            return
        self._state = "stopping"
        if self._refusal is None:
            log.info("worker.stopping grace=%gs (again: now)", self._config.grace)
        for kin in self._kin.values():
            kin.tell("drain", self._config.grace)
        self._keep(self._end_stragglers(self._config.grace))
        self._check_all_gone()

    async def _end_stragglers(self, grace: float) -> None:
        await asyncio.sleep(grace + AFTER_GRACE)
        for kin in list(self._kin.values()):
            log.error("child.killed child=%s did not end in its grace", kin.child)
            kin.is_leaving = True
            kin.kill(signal.SIGKILL)

    def _quiet(self) -> None:
        self._state = "quiet"
        log.info("worker.quiet claims no more")
        for kin in self._kin.values():
            kin.tell("quiet")

    def _resume(self) -> None:
        if self._state == "quiet":
            self._state = "running"
            log.info("worker.resumed claims again")
            for kin in self._kin.values():
                kin.tell("resume")

    def _dump(self) -> None:
        for kin in self._kin.values():
            held = ", ".join(f"{one.id}:{one.phase.name.lower()}" for one in kin.posted()) or "nothing"
            log.warning("child.dump child=%s pid=%d holds %s", kin.child, kin.pid, held)
            kin.kill(signal.SIGUSR1)


def main(modules: Sequence[str], config: JobConfig) -> int:
    """Run a worker in this process; answer its exit code.

    Raises:
        StoreUnavailable: Redis was not there at the start.
    """
    set_up_logs(config)
    at = target(config.url)
    hosted: Any = None
    if config.with_reaper:
        from jobfleet.services.main import hosted_reaper

        hosted = hosted_reaper(modules, config, at.url)
    try:
        return asyncio.run(_supervise(modules, config, at))
    finally:
        if hosted is not None:
            hosted.close()
        at.close()


async def _supervise(modules: Sequence[str], config: JobConfig, at: Target) -> int:
    return await Supervisor(modules, config, at).run()
