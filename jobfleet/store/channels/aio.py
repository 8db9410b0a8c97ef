"""The asyncio connection for subscriptions: one task reads, any task of the loop may subscribe."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from jobfleet.store.channels.subscriptions import (
    BOUND,
    MOST_READ,
    Backoff,
    Message,
    Pulse,
    Subscriptions,
    commands,
    message_of,
)
from jobfleet.store.link.protocol import LINK_ERRORS
from jobfleet.store.server.connect import async_connections, disconnect
from jobfleet.store.server.target import Target


class AsyncChannels:
    """Subscriptions over one connection, which is opened again whenever it is lost.

    Args:
        at: The server.
    """

    def __init__(self, at: Target) -> None:
        self._make = async_connections(at, connect_timeout=BOUND)
        self._woken = asyncio.Event()
        self._subscriptions = Subscriptions()
        self._fresh: set[str] = set()
        self._sender: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._pulse = Pulse()
        self._backoff = Backoff()

    def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe to channels; the confirmation comes as a message, also for a channel that is subscribed already.

        Another task sends the command: it serves all callers of a moment, and a caller that is cancelled while it sends
        would break the connection.
        """
        channels = tuple(channels)
        self._subscriptions.add(channels)
        self._woken.set()
        if self._connection is not None:
            self._fresh.update(channels)
            if self._sender is None:
                self._sender = asyncio.get_running_loop().create_task(self._send_fresh())

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """End subscriptions; the server learns of it before the next `read`."""
        self._subscriptions.drop(channels)

    async def read(self, timeout: float) -> list[Message]:
        """Return the messages that are there, or else come within `timeout` seconds; none while the server is away."""
        found: list[Message | None] = []
        try:
            connection = self._connection or await self._opened(timeout)
            if connection is None:
                return []
            await self._send(connection, self._subscriptions.forgotten())
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    found.append(message_of(await _next(connection)))
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    while found and len(found) < MOST_READ:
                        found.append(message_of(await _next(connection)))
            if found:
                self._pulse.heard()
                self._backoff.succeeded()
            else:
                await self._check(connection)
        except LINK_ERRORS:
            await self._lose()
        return [message for message in found if message is not None]

    def wake(self) -> None:
        """Have a `read` return that waits for the next attempt to connect."""
        self._woken.set()

    async def close(self) -> None:
        """Close the connection."""
        self._fresh.clear()
        connection, self._connection = self._connection, None
        await disconnect(connection)

    async def _opened(self, timeout: float) -> Any:
        """Connect when it is time, and subscribe to all channels; None if it is not time yet."""
        left = self._backoff.left
        if left > 0:
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, timeout)):
                    await self._woken.wait()
            return None
        connection = self._make()
        try:
            async with asyncio.timeout(BOUND):
                await connection.connect()
        except BaseException:
            await disconnect(connection)
            raise
        self._pulse = Pulse()
        self._connection = connection
        await self._send(connection, commands("SUBSCRIBE", self._subscriptions.wanted))
        return connection

    async def _send_fresh(self) -> None:
        try:
            while self._fresh and (connection := self._connection) is not None:
                channels, self._fresh = self._fresh, set()
                await self._try_to_send(connection, commands("SUBSCRIBE", channels))
        finally:
            self._sender = None

    async def _try_to_send(self, connection: Any, wanted: Sequence[tuple[str, ...]]) -> None:
        """Send. If that fails, the reader connects again and subscribes to all channels.

        A connection that failed must not be used again: redis-py would connect it, without the other subscriptions.
        """
        try:
            await self._send(connection, wanted)
        except LINK_ERRORS:
            if self._connection is connection:
                await self.close()

    async def _check(self, connection: Any) -> None:
        """Send a PING after a long silence; end a connection that does not answer it."""
        if self._pulse.is_lost:
            await self._lose()
        elif self._pulse.should_ask():
            await self._send(connection, [("PING",)])

    async def _send(self, connection: Any, wanted: Sequence[tuple[str, ...]]) -> None:
        if not wanted:
            return
        async with asyncio.timeout(BOUND):
            for command in wanted:
                await connection.send_command(*command)

    async def _lose(self) -> None:
        self._backoff.failed()
        await self.close()


async def _next(connection: Any) -> Any:
    """Read one reply. A read that is cancelled leaves what has come for the next one."""
    return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
