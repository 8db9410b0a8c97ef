"""Rounds: something is sent again and again while there is more, and whoever adds something may be any thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

log = logging.getLogger("jobfleet.worker")


class Rounds:
    """Goes round while there is something to send, with a pause between two rounds.

    Args:
        name: What is sent, for the log.
        send: Sends what has gathered.
        has_more: Whether something has gathered.
        every: Seconds between two rounds.
        pauses_first: Whether the first round comes after a pause, too: what is added at one moment goes together.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[], Awaitable[None]],
        *,
        has_more: Callable[[], bool],
        every: float,
        pauses_first: bool,
    ) -> None:
        self._name = name
        self._send = send
        self._has_more = has_more
        self._every = every
        self._pauses_first = pauses_first
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._is_going = False
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Something was added just now; from any thread, it never waits."""
        with self._lock:
            if not self._is_going:  # in this order: the job's code may be interrupted here
                self._loop.call_soon_threadsafe(self._start)
                self._is_going = True

    def _start(self) -> None:
        if self._task is None:
            self._task = self._loop.create_task(self._go())

    async def _go(self) -> None:
        try:
            if self._pauses_first:
                await asyncio.sleep(self._every)
            while True:
                await self._round()
                await asyncio.sleep(self._every)
                with self._lock:  # who adds something has done so before this look, or wakes this afterwards
                    if not self._has_more():
                        self._is_going = False
                        return
        finally:
            self._task = None

    async def _round(self) -> None:
        try:
            await self._send()
        except Exception:
            log.exception("worker.unsent %s", self._name)  # one bad round must not silence every job to come
