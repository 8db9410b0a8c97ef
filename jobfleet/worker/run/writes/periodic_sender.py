"""Sends gathered data periodically, as long as there is any. Any thread may add data."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context

log = logging.getLogger("jobfleet.worker")


class PeriodicSender:
    """Sends in rounds while there is data, with a pause between two rounds.

    Args:
        name: The kind of data, for the log.
        send: Sends the gathered data.
        has_more: Returns whether there is data.
        every: Seconds between two rounds.
        pauses_first: Whether the first round waits too, so that data of the same moment is sent together.
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
        self._context = Context()  # not that of the job that adds data first
        self._lock = threading.Lock()
        self._is_going = False
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Data was added. Any thread may call this, and it never waits."""
        with self._lock:
            if not self._is_going:  # in this order, because the job's code may be interrupted here
                self._loop.call_soon_threadsafe(self._start, context=self._context)
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
                with self._lock:  # data is added before this check, or `wake` is called after it
                    if not self._has_more():
                        self._is_going = False
                        return
        finally:
            self._task = None

    async def _round(self) -> None:
        try:
            await self._send()
        except Exception:
            log.exception("worker.unsent %s", self._name)  # one failed round must not stop the following ones
