"""A worker's children: started, heard, and followed by a successor when they die."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.outcome import Cancelled, TimedOut
from jobfleet.store.connect import Target
from jobfleet.store.keys import Lane
from jobfleet.worker.engine import board_capacity
from jobfleet.worker.kin import Kin
from jobfleet.worker.scrape import Scrape
from jobfleet.worker.undertaker import Undertaker, how_it_died
from jobfleet.worker.wire import frames

log = logging.getLogger("jobfleet.worker")
EXIT_OK, EXIT_USAGE, EXIT_RECYCLED = 0, 2, 5
BACK_OFF = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
STEADY = 10.0
"""Seconds after which a child that dies is no sign of a crash loop."""

Keep = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Nursery:
    """The children of one worker.

    Args:
        worker: Its id.
        modules: What the children load.
        config: The settings.
        at: The server.
        undertaker: Settles what a dead child held.
        scrape: Counts deaths, and takes the children's counts.
        lanes: The lanes of some queues.
        keep: Runs a coroutine to its end.
        on_ready: Is told what a new child knows: functions by name.
        on_empty: Is told that a child has gone, when it is not followed at once.

    Attributes:
        kin: The children by process id.
        queues: What they serve.
        state: running, quiet or stopping.
        refusal: Why the children cannot start; None when they can.
        awaited: How many successors are to come.
    """

    def __init__(
        self,
        worker: str,
        modules: Sequence[str],
        config: JobConfig,
        at: Target,
        *,
        undertaker: Undertaker,
        scrape: Scrape,
        lanes: Callable[[Sequence[str]], list[Lane]],
        keep: Keep,
        on_ready: Callable[[dict[str, bytes]], Awaitable[None]],
        on_empty: Callable[[], None],
    ) -> None:
        self._worker = worker
        self._modules = list(modules)
        self._config = config
        self._at = at
        self._undertaker = undertaker
        self._scrape = scrape
        self._lanes = lanes
        self._keep = keep
        self._on_ready = on_ready
        self._on_empty = on_empty
        self._count = 0
        self._deaths = 0
        self._burials: set[asyncio.Task[None]] = set()
        self.kin: dict[int, Kin] = {}
        self.queues: list[str] = []
        self.state = "running"
        self.refusal: str | None = None
        self.awaited = 0

    @property
    def is_deserted(self) -> bool:
        """Whether no child is left, and none is to come."""
        return not self.kin and (self.state == "stopping" or (self._config.burst and not self.awaited))

    def spawn(self, number: int) -> None:
        """Start a child."""
        self._count += 1
        kin = Kin(f"{self._worker}.{self._count}", number, board_capacity(self._config.slots))
        self.kin[kin.pid] = kin
        settings = self._config.plain(url=self._at.url, processes=1)
        kin.hello(settings, self._modules, str(self._config.app_dir), quiet=self.state == "quiet")
        kin.hearing = self._keep(self._hear(kin))

    async def _hear(self, kin: Kin) -> None:
        async for word, *rest in frames(kin.reports):
            if word == "ready":
                functions, kin.queues = rest
                self.queues = list(dict.fromkeys([*self.queues, *kin.queues]))
                await self._on_ready(functions)
            elif word == "state":
                kin.running, delta = rest
                self._scrape.merge(delta)
            elif word == "refused":
                kin.refusal = (rest[0], rest[1])
            elif word == "condemned":
                job_id, token, what, why = rest
                kin.verdicts.setdefault((job_id, token), TimedOut(why) if what == "timeout" else Cancelled(why))

    def look_for_deaths(self) -> None:
        """See which children have ended, were frozen, or go on."""
        for kin in list(self.kin.values()):
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
        del self.kin[kin.pid]
        kin.reaped(status)
        code = kin.exit_code or 0
        # Who leaves by itself has cleared its board: else it was a job that ended the process.
        planned = kin.is_leaving or (code in (EXIT_OK, EXIT_RECYCLED) and not kin.posted())
        could_not_start = code == EXIT_USAGE and not kin.queues  # it says why in one line of its own
        if not planned and not could_not_start:
            log.error("child.died child=%s %s", kin.child, how_it_died(code))
            self._scrape.crashed(code)
        burial = self._keep(self._bury(kin, how_it_died(code), planned=planned))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)
        if self.state == "stopping" or kin.is_replaced or (self._config.burst and code == EXIT_OK):
            self._on_empty()
        else:
            steady = boottime() - kin.born > STEADY or code == EXIT_RECYCLED
            self._deaths = 0 if steady else self._deaths + 1
            self.awaited += 1
            self._keep(self._follow(kin, BACK_OFF[min(self._deaths, len(BACK_OFF) - 1)]))

    async def _bury(self, kin: Kin, reason: str, *, planned: bool) -> None:
        posted, lanes = kin.posted(), self._lanes(kin.queues or self.queues)
        kin.close()
        try:
            # Also one that left in peace: a claim whose answer it did not await may have run.
            settled = await self._undertaker.bury(
                kin.child, posted, lanes, reason, planned=planned, verdicts=kin.verdicts
            )
            if settled:
                log.warning("child.buried child=%s jobs=%d", kin.child, settled)
        except JobfleetError as error:
            log.error("child.not_buried child=%s %s", kin.child, error)
        finally:
            self._on_empty()

    async def burials(self, timeout: float) -> None:
        """Wait until all that died are buried, but not for ever."""
        if self._burials:
            await asyncio.wait(set(self._burials), timeout=timeout)

    async def _follow(self, kin: Kin, after: float) -> None:
        """Start the successor of a dead child, unless it could not even start."""
        if kin.exit_code == EXIT_USAGE and kin.hearing is not None:
            await asyncio.wait((kin.hearing,), timeout=1.0)  # its last words may still be in the pipe
            if not kin.queues:
                self.awaited -= 1
                self._refuse(*(kin.refusal or ("The child could not start.", "")))
                return
        await asyncio.sleep(after)
        self.awaited -= 1
        if self.state != "stopping":
            self.spawn(kin.number)

    def replace(self, kin: Kin, grace: float) -> None:
        """Start a child's successor now, and let the child drain: no slot is missing in between.

        Args:
            kin: The child; it claims nothing more.
            grace: Seconds that its jobs may take to end; the rest is given back, uncounted.
        """
        if kin.is_replaced or self.state == "stopping":
            return
        kin.is_replaced = True
        self.spawn(kin.number)
        kin.tell("drain", grace)

    def _refuse(self, why: str, shown: str) -> None:
        if self.refusal is None:
            sys.stderr.write(shown)
            self.refusal = why
        self._on_empty()

    def tell(self, *frame: Any) -> None:
        """Send a frame to every child."""
        for kin in self.kin.values():
            kin.tell(*frame)
