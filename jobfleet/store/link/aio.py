"""The asynchronous connection to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any
from weakref import WeakSet

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError

from jobfleet.store.call import Command
from jobfleet.store.link.busypoll import AsyncBusyPoll
from jobfleet.store.link.pool import MOST
from jobfleet.store.link.pool.aio import AsyncPool
from jobfleet.store.link.protocol import DROPPED, LATE, LINK_ERRORS, answered, fill, packed
from jobfleet.store.server.connect import async_connections, disconnect
from jobfleet.store.server.greeting import ASKED, Greeting, info_of
from jobfleet.store.server.target import Target


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
