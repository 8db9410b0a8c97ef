"""Links: send commands, get replies, in one exchange. The one place where bytes meet sockets.

redis-py's own repetition is off: a reply may be lost after the script ran, and only the store
knows how to ask again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, cast
from weakref import WeakSet

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError

from jobfleet.store.busypoll import AsyncBusyPoll, BusyPoll
from jobfleet.store.call import Command
from jobfleet.store.connect import Target, async_connections, connections
from jobfleet.store.greeting import ASKED, Greeting, info_of
from jobfleet.store.replies import CONNECTION_ERRORS

pack: Callable[[Command], bytes] | None
try:
    import hiredis
except ImportError:  # redis-py's own packing does, at five times the price
    pack = None
else:
    pack = cast(Callable[[Command], bytes], hiredis.pack_command)

LINK_ERRORS = (*CONNECTION_ERRORS, RedisError)
"""The greeting of a connection may be refused, too: SELECT of a database that is not there, INFO by a bare user."""


DROPPED = (*CONNECTION_ERRORS, ReadOnlyError)
"""What ends a connection: a server that has become a replica stays one, and the address may lead to its successor."""
LATE = 2.0
"""Seconds beyond its time-out after which a wait is given up: its connection seems to be half open."""


class Link(Protocol):
    """A way to a server."""

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; a reply or an exception for each."""

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each part, none of them empty, as soon as it is made; then a reply or an exception for each command."""

    def close(self) -> None:
        """Let the connections go."""


class AsyncLink(Protocol):
    """A way to a server, for asyncio."""

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; a reply or an exception for each."""

    async def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each part, none of them empty, as soon as it is made; then a reply or an exception for each command."""

    async def block(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """Send commands in one pipeline, the first of which may block for `timeout` seconds; likewise."""

    @property
    def server(self) -> str | None:
        """Which server the connections lead to; None where that is not known."""

    async def look_again(self) -> None:
        """See which server the address leads to now; connections that lead to another one are let go."""

    async def close(self) -> None:
        """Let the connections go."""


def packed(connection: Any, commands: Sequence[Command]) -> Any:
    """Commands as bytes for the socket."""
    if pack is not None:
        return [pack(commands[0]) if len(commands) == 1 else b"".join([pack(command) for command in commands])]
    return connection.pack_commands(commands)


def answered(error: BaseException) -> BaseException:
    """An error as a value: a traceback would hold the callers' frames, and these the replies that it is one of."""
    part: BaseException | None = error
    while part is not None:  # what it came from has a traceback of its own
        part.__traceback__ = None
        part = part.__cause__ or part.__context__
    return error


def fill(replies: list[Any], commands: Sequence[Command], error: BaseException) -> list[Any]:
    """Answer the commands that got no reply with what prevented it."""
    return replies + [answered(error)] * (len(commands) - len(replies))


class SocketLink:
    """A pool of synchronous connections; safe for threads, and after a fork."""

    def __init__(self, at: Target, *, connect_timeout: float, socket_timeout: float, busy_poll: float = 0.0) -> None:
        self.busy_poll = BusyPoll(busy_poll)
        self._make = connections(at, connect_timeout=connect_timeout, socket_timeout=socket_timeout)
        self._fake = at.fake
        self._idle: list[Any] = []
        self._pid = os.getpid()
        self._greeting = Greeting(needs_primary=False)  # a write tells, and reads may be asked of a replica

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; a reply or an exception for each."""
        if not commands:
            return []
        replies: list[Any] = []
        connection = None
        try:
            connection = self._take()
            if self._fake:
                _exchange_fake(connection, commands, replies)
            else:
                connection.send_packed_command(packed(connection, commands), check_health=False)
                self.busy_poll.look(connection)
                for _ in commands:
                    replies.append(_read(connection))  # noqa: PERF401 - what came before an error stays
        except LINK_ERRORS as error:
            if connection is not None:
                connection.disconnect()
            self.close()  # what broke one has broken the idle ones, too: they must not fail a call each
            return fill(replies, commands, error)
        except BaseException:
            if connection is not None:
                connection.disconnect()
            raise
        self._idle.append(connection)
        return replies

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each part, none of them empty, as soon as it is made; then a reply or an exception for each command."""
        if self._fake:
            return self.exchange(list(chain.from_iterable(parts)))
        sent: list[Command] = []
        replies: list[Any] = []
        connection = None
        try:
            for part in parts:
                sent += part
                connection = connection or self._take()
                connection.send_packed_command(packed(connection, part), check_health=False)
            for _ in sent:
                replies.append(_read(connection))  # noqa: PERF401 - what came before an error stays
        except LINK_ERRORS as error:
            if connection is not None:
                connection.disconnect()
            self.close()
            sent += chain.from_iterable(parts)  # the rest is made, so that it can be sent again
            return fill(replies, sent, error)
        except BaseException:
            if connection is not None:
                connection.disconnect()
            raise
        if connection is not None:
            self._idle.append(connection)
        return replies

    def _take(self) -> Any:
        if self._pid != os.getpid():  # a forked child must not share its parent's sockets
            self._idle, self._pid = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _connect(self) -> Any:
        connection = self._make()
        try:
            connection.connect()
            if self._greeting.is_due and not self._fake:
                connection.send_command(*ASKED)
                self._greeting.hear(info_of(connection.read_response(disable_decoding=True)))
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def close(self) -> None:
        """Let the connections go."""
        while self._idle:
            self._idle.pop().disconnect()


def _read(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except DROPPED:
        raise
    except RedisError as error:
        return answered(error)


def _exchange_fake(connection: Any, commands: Sequence[Command], replies: list[Any]) -> None:
    for command in commands:
        connection.send_command(*command)
        replies.append(_read(connection))


class AsyncSocketLink:
    """A pool of asyncio connections for one event loop."""

    def __init__(
        self,
        at: Target,
        *,
        connect_timeout: float,
        socket_timeout: float,
        busy_poll: float = 0.0,
        needs_primary: bool = False,
    ) -> None:
        self.busy_poll = AsyncBusyPoll(busy_poll)
        self._make = async_connections(at, connect_timeout=connect_timeout)
        self._fake = at.fake
        self._timeout = socket_timeout
        self._idle: list[Any] = []
        self._blocking: list[Any] = []
        self._open: WeakSet[Any] = WeakSet()
        self._greeting = Greeting(needs_primary=needs_primary)
        self._closed = False

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; a reply or an exception for each."""
        if not commands:  # an empty write would stay in a transport of Python 3.12 and later, which then never closes
            return []
        replies: list[Any] = []
        connection = None
        try:
            async with asyncio.timeout(self._timeout):
                connection = self._idle.pop() if self._idle else await self._connect()
                if self._fake:
                    for command in commands:
                        await connection.send_command(*command)
                        replies.append(await _aread(connection))
                else:
                    await connection.send_packed_command(packed(connection, commands), check_health=False)
                    await self._read_all(connection, commands, replies)
        except LINK_ERRORS as error:
            await _drop(connection)
            await self._drop_idle()
            return fill(replies, commands, error)
        except BaseException:
            await _drop(connection)
            raise
        await self._keep(connection, self._idle)
        return replies

    async def _read_all(self, connection: Any, commands: Sequence[Command], replies: list[Any]) -> None:
        self.busy_poll.sent()
        try:
            for _ in commands:
                replies.append(await _aread(connection))  # noqa: PERF401 - what came before an error stays
        finally:
            self.busy_poll.done()

    async def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each part, none of them empty, as soon as it is made; then a reply or an exception for each command."""
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
                    limit.reschedule(now() + self._timeout)  # making it may have taken long
                    connection = connection or (self._idle.pop() if self._idle else await self._connect())
                    await connection.send_packed_command(packed(connection, part), check_health=False)
                for _ in sent:
                    replies.append(await _aread(connection))  # noqa: PERF401 - what came before an error stays
        except LINK_ERRORS as error:
            await _drop(connection)
            await self._drop_idle()
            sent += chain.from_iterable(parts)
            return fill(replies, sent, error)
        except BaseException:
            await _drop(connection)
            raise
        if connection is not None:
            await self._keep(connection, self._idle)
        return replies

    async def block(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """Send commands in one pipeline, the first of which may block for `timeout` seconds; likewise.

        It has a connection of its own.
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
                    replies.append(await _aread(connection))  # noqa: PERF401 - what came before an error stays
        except LINK_ERRORS as error:
            await _drop(connection)
            await self._drop_idle()
            return fill(replies, commands, error)
        except BaseException:  # cancelled while blocking: the connection must go, or it eats a later wake-up
            await _drop(connection)
            raise
        await self._keep(connection, self._blocking)
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
            await _drop(connection)
            raise
        return connection

    async def _greet(self, connection: Any) -> None:
        await connection.send_command(*ASKED)
        info = info_of(await connection.read_response(disable_decoding=True))
        refusal = self._greeting.refuses(info)
        if self._greeting.hear(info) or refusal is not None:
            for older in list(self._open):  # those in use, too: who waits for an answer there asks again here
                await _drop(older)
            self._idle.clear()
            self._blocking.clear()
        if refusal is not None:
            raise refusal
        self._open.add(connection)

    @property
    def server(self) -> str | None:
        """Which server the connections lead to; None where that is not known."""
        return self._greeting.server

    async def look_again(self) -> None:
        """See which server the address leads to now; connections that lead to another one are let go.

        That takes a new connection, which replaces the eldest of those that are kept.
        """
        if self._fake:
            return
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connect()
        except LINK_ERRORS:
            return  # whoever asks something next is told
        if self._idle:
            await _drop(self._idle.pop(0))
        await self._keep(connection, self._idle)

    async def _keep(self, connection: Any, pool: list[Any]) -> None:
        if self._closed:
            await _drop(connection)
        else:
            pool.append(connection)

    async def close(self) -> None:
        """Let the connections go."""
        self._closed = True
        await self._drop_idle()
        blocking, self._blocking = self._blocking, []
        for connection in blocking:
            await _drop(connection)

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await _drop(connection)


async def _aread(connection: Any) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except DROPPED:
        raise
    except RedisError as error:
        return answered(error)


async def _drop(connection: Any) -> None:
    if connection is not None:
        await connection.disconnect(nowait=True)
