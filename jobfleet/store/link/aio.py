"""The asynchronous link to Redis, with its pool."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any
from weakref import WeakSet

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError

from jobfleet.store.call import Command
from jobfleet.store.connect import ASKED, Greeting, async_connections, disconnect, info_of
from jobfleet.store.link.sync import (
    DROPPED,
    LATE,
    LINK_ERRORS,
    LOOK_EVERY,
    LOOKS,
    MOST,
    AsyncBusyPoll,
    answered,
    fill,
    packed,
)
from jobfleet.store.target import Target


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


class AsyncSocketLink:
    """Asyncio connections for one event loop."""

    def __init__(
        self,
        at: Target,
        *,
        connect_timeout: float,
        socket_timeout: float,
        busy_poll: float = 0.0,
        needs_primary: bool = False,
        max_connections: int = MOST,
    ) -> None:
        self.busy_poll: AsyncBusyPoll = AsyncBusyPoll(busy_poll)
        self._make = async_connections(at, connect_timeout=connect_timeout)
        self._fake = at.fake
        self._timeout = socket_timeout
        self.pool: AsyncPool = AsyncPool(self._connect, most=max_connections)
        self._blocking: list[Any] = []
        self._open: WeakSet[Any] = WeakSet()
        self._greeting = Greeting(needs_primary=needs_primary)
        self._closed = False

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; return a reply or an exception for each."""
        if not commands:  # in Python 3.12 and later, a transport never closes after an empty write
            return []
        replies: list[Any] = []
        connection = None
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self.pool.take()
                if self._fake:
                    for command in commands:
                        await connection.send_command(*command)
                        replies.append(await read_reply(connection))
                else:
                    await connection.send_packed_command(packed(connection, commands), check_health=False)
                    await self._read_all(connection, commands, replies)
        except LINK_ERRORS as error:
            await self._drop_broken(connection)
            return fill(replies, commands, error)
        except BaseException:
            if connection is not None:
                await self.pool.drop(connection)
            raise
        await self.pool.give(connection)
        return replies

    async def _read_all(self, connection: Any, commands: Sequence[Command], replies: list[Any]) -> None:
        self.busy_poll.sent()
        try:
            for _ in commands:
                replies.append(await read_reply(connection))  # noqa: PERF401 - what came before an error stays
        finally:
            self.busy_poll.done()

    async def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each non-empty part as soon as it is made; return a reply or an exception for each command."""
        if self._fake:
            return await self.exchange(list(chain.from_iterable(parts)))
        sent: list[Command] = []
        replies: list[Any] = []
        connection = None
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self._timeout) as limit:
                for part in parts:
                    sent += part
                    limit.reschedule(now() + self._timeout)  # to make the part may have taken long
                    connection = connection or await self.pool.take()
                    await connection.send_packed_command(packed(connection, part), check_health=False)
                for _ in sent:
                    replies.append(await read_reply(connection))  # noqa: PERF401 - what came before an error stays
        except LINK_ERRORS as error:
            await self._drop_broken(connection)
            sent += chain.from_iterable(parts)
            return fill(replies, sent, error)
        except BaseException:
            if connection is not None:
                await self.pool.drop(connection)
            raise
        if connection is not None:
            await self.pool.give(connection)
        return replies

    async def block(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """Send commands in one pipeline, of which the first may block for `timeout` seconds.

        It uses a connection of its own.
        """
        replies: list[Any] = []
        connection = None
        try:
            async with asyncio.timeout(timeout + min(self._timeout, LATE)):
                connection = self._blocking.pop() if self._blocking else await self._connect()
                if self._fake:
                    for command in commands:
                        await connection.send_command(*command)
                else:
                    await connection.send_packed_command(packed(connection, commands), check_health=False)
                for _ in commands:
                    replies.append(await read_reply(connection))  # noqa: PERF401 - what came before an error stays
        except LINK_ERRORS as error:
            await disconnect(connection)
            await self.pool.drop_idle()
            return fill(replies, commands, error)
        except BaseException:  # cancelled while blocking: close the connection, or it would take a later wake-up
            await disconnect(connection)
            raise
        await self._keep_blocking(connection)
        return replies

    async def _connect(self) -> Any:
        if self._closed:
            raise RedisConnectionError("this store is closed")
        connection = self._make()
        try:
            await connection.connect()
            if self._greeting.is_due and not self._fake:
                await self._greet(connection)
        except BaseException:
            await disconnect(connection)
            raise
        return connection

    async def _greet(self, connection: Any) -> None:
        await connection.send_command(*ASKED)
        try:
            info = info_of(await connection.read_response(disable_decoding=True))
        except NoPermissionError:  # a managed server may forbid INFO
            info = {}
        refusal = self._greeting.refuses(info)
        if self._greeting.hear(info) or refusal is not None:
            for older in list(self._open):  # including busy ones: their callers retry on the new server
                await disconnect(older)
            await self.pool.drop_idle()
            self._blocking.clear()
        if refusal is not None:
            raise refusal
        self._open.add(connection)

    @property
    def server(self) -> str | None:
        """The run id of the server that the connections lead to; None if it is unknown."""
        return self._greeting.server

    async def look_again(self) -> None:
        """Check which server the address leads to now; close connections that lead to another one.

        It opens a new connection, which replaces the oldest idle one.
        """
        if self._fake:
            return
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connect()
        except LINK_ERRORS:
            return  # the next call gets the error
        await self.pool.replace_oldest(connection)

    async def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """Return the INFO of the server that a new connection leads to; empty if the user may not ask."""
        if leaves:
            await self.pool.drop_idle()
        connection = None
        try:
            async with asyncio.timeout(self._timeout):
                connection = self._make()
                await connection.connect()
                await connection.send_command(*ASKED)
                return info_of(await connection.read_response(disable_decoding=True))
        except NoPermissionError:
            return {}
        except LINK_ERRORS as error:
            return answered(error)
        finally:
            await disconnect(connection)

    async def _drop_broken(self, connection: Any) -> None:
        """Close a broken connection, and the idle ones, which are probably broken too."""
        if connection is not None:
            await self.pool.drop(connection)
            await self.pool.drop_idle()

    async def _keep_blocking(self, connection: Any) -> None:
        if self._closed:
            await disconnect(connection)
        else:
            self._blocking.append(connection)

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        await self.pool.close()
        blocking, self._blocking = self._blocking, []
        for connection in blocking:
            await disconnect(connection)


async def read_reply(connection: Any) -> Any:
    """Return the next reply, or the error of the server in its place."""
    try:
        return await connection.read_response(disable_decoding=True)
    except DROPPED:
        raise
    except RedisError as error:
        return answered(error)
