"""The pool of an asyncio link."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from jobfleet.store.link.pool import LOOK_EVERY, LOOKS
from jobfleet.store.server.connect import disconnect


class AsyncPool:
    """Connections of one event loop.

    Args:
        connect: Opens a connection.
        most: The most connections that are open.

    Attributes:
        idle: The free connections, the last used one at the end.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]], *, most: int) -> None:
        self._connect = connect
        self._most = most
        self.idle: list[Any] = []
        self._open = 0
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._look: asyncio.TimerHandle | None = None
        self._looks = 0
        self._unused = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def take(self) -> Any:
        """Return a free connection, or a new one; wait for one if as many as allowed are in use."""
        while not self.idle:
            if self._open < self._most:
                self._open += 1
                try:
                    return await self._connect()
                except BaseException:
                    self._release()
                    raise
            await self._turn()
        return self.idle.pop()

    async def give(self, connection: Any) -> None:
        """Return a connection after use."""
        if self._is_closed:
            await self.drop(connection)
            return
        self.idle.append(connection)
        if self._waiting:
            self._wake()
        elif len(self.idle) > 1 and self._look is None:
            self._plan()

    async def drop(self, connection: Any) -> None:
        """Close a connection that cannot be used again."""
        self._release()
        await disconnect(connection)

    async def replace_oldest(self, connection: Any) -> None:
        """Add a connection that was opened elsewhere, in the place of the one that was idle for longest."""
        self._open += 1
        if self.idle:
            await self.drop(self.idle.pop(0))
        await self.give(connection)

    async def drop_idle(self) -> None:
        """Close the idle connections."""
        idle, self.idle = self.idle, []
        for connection in idle:
            await self.drop(connection)

    async def close(self) -> None:
        """Close the idle connections, and from now on each that is returned."""
        self._is_closed = True
        if self._look is not None:
            self._look.cancel()
            self._look = None
        await self.drop_idle()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _turn(self) -> None:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except BaseException:
            if future.done() and not future.cancelled():
                self._wake()  # it was woken, which another one may need now
            raise

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return

    def _release(self) -> None:
        self._open -= 1
        self._wake()

    def _plan(self) -> None:
        self._looks, self._unused = 0, len(self.idle)
        self._look = asyncio.get_running_loop().call_later(LOOK_EVERY, self._shrink)

    def _shrink(self) -> None:
        """Close connections that nobody needs, until at most one is idle."""
        loop = asyncio.get_running_loop()
        self._looks += 1
        self._unused = min(self._unused, len(self.idle))
        if self._looks == LOOKS:
            for connection in self.idle[: max(0, self._unused - 1)]:
                self.idle.remove(connection)
                task = loop.create_task(self.drop(connection))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            self._looks, self._unused = 0, len(self.idle)
        self._look = loop.call_later(LOOK_EVERY, self._shrink) if len(self.idle) > 1 or self._looks else None
