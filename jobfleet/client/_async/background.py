"""The task that listens for a client, the mailboxes in which callers wait, and pauses.

Written by hand, as its twin is: here they differ.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Generic, TypeVar

from jobfleet.store.aio import cancelled
from jobfleet.store.channels import AsyncChannels

T = TypeVar("T")
AsyncAct = Callable[[], Awaitable[T]]
"""Does something, awaited."""

__all__ = ["AsyncAct", "AsyncBackground", "AsyncChannels", "AsyncMailbox", "sleep"]


class AsyncMailbox(Generic[T]):
    """Passes items to one waiting caller.

    Args:
        most: The most items that are kept; then the oldest is dropped. None for no limit.
    """

    def __init__(self, most: int | None = None) -> None:
        self._items: deque[T] = deque(maxlen=most)
        self._waiting: asyncio.Future[None] | None = None

    def put(self, item: T) -> None:
        """Add an item."""
        self._items.append(item)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def get(self, timeout: float | None) -> T | None:
        """Return the next item; None after `timeout` seconds without one."""
        if not self._items:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._waiting
            except TimeoutError:
                return None
            finally:
                self._waiting = None
        return self._items.popleft()


class AsyncBackground:
    """A task of the event loop that runs now."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether it was started on another event loop, so that it cannot serve this one."""
        return self._loop is not None and self._loop is not asyncio.get_running_loop()

    def start(self, run: Callable[[], Coroutine[None, None, None]]) -> None:
        """Start the task."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(run(), name="jobfleet-listener")

    async def aclose(self) -> None:
        """End the task."""
        task, self._task = self._task, None
        if task is not None and not self.is_foreign:
            await cancelled(task)


async def sleep(seconds: float) -> None:
    """Pause between two reads; other tasks of the loop continue."""
    await asyncio.sleep(seconds)
