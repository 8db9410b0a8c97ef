"""The connections for subscriptions, asyncio and blocking, and what both want, hear and check."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError

from jobfleet.clock import monotonic
from jobfleet.store.connect import async_connections, connections, disconnect
from jobfleet.store.link.sync import LINK_ERRORS
from jobfleet.store.target import Target

BOUND = 2.0
"""Time limit in seconds for connecting and sending. A server that does not reply counts as unavailable."""
SILENCE = 4.0
"""Seconds without a message after which the connection is checked with a PING."""
ANSWER = 2.0
"""Time limit for the reply to the PING, in seconds."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two attempts to connect."""
PART = 1000
"""Channels per command: more would block the server for long."""
MOST_READ = 2000
"""Messages that are read before they are handled."""


class Message(NamedTuple):
    """A message of a channel.

    Attributes:
        channel: The name of the channel.
        text: The text; None when the subscription begins, so that earlier messages may have been missed.
    """

    channel: str
    text: str | None


def message_of(reply: Any) -> Message | None:
    """Convert a reply of a subscribing connection; None if it is neither a message nor a new subscription."""
    if not isinstance(reply, list | tuple) or len(reply) < 3:
        return None
    kind = bytes(reply[0])
    if kind == b"message":
        return Message(reply[1].decode(), reply[2].decode(errors="replace"))
    return Message(reply[1].decode(), None) if kind == b"subscribe" else None


class Subscriptions:
    """The channels of a connection.

    Attributes:
        wanted: The channels to which to subscribe.
    """

    def __init__(self) -> None:
        self.wanted: set[str] = set()
        self._dropped: set[str] = set()

    def add(self, channels: Iterable[str]) -> None:
        """Want channels."""
        self.wanted.update(channels)

    def drop(self, channels: Iterable[str]) -> None:
        """Do not want channels any more; the server learns of it with the next `forgotten`."""
        channels = set(channels)
        self.wanted -= channels
        self._dropped |= channels

    def forgotten(self) -> list[tuple[str, ...]]:
        """Return the commands that end the subscriptions that nobody wants any more."""
        if not self._dropped:
            return []
        channels, self._dropped = self._dropped - self.wanted, set()
        return commands("UNSUBSCRIBE", channels)


def commands(verb: str, channels: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the commands for channels, some channels per command."""
    names = list(channels)
    return [(verb, *names[at : at + PART]) for at in range(0, len(names), PART)]


class Pulse:
    """Decides when to check a silent connection, because a half-open connection looks like a silent channel."""

    def __init__(self) -> None:
        self._heard_at = monotonic()
        self._asked_at: float | None = None

    def heard(self) -> None:
        """Record that something came."""
        self._heard_at, self._asked_at = monotonic(), None

    def should_ask(self) -> bool:
        """Whether to send a PING now; true once per silence."""
        now = monotonic()
        if self._asked_at is not None or now - self._heard_at < SILENCE:
            return False
        self._asked_at = now
        return True

    @property
    def is_lost(self) -> bool:
        """Whether the PING was not answered in time."""
        return self._asked_at is not None and monotonic() - self._asked_at >= ANSWER


class Backoff:
    """The pauses between attempts to connect."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._next_at = 0.0

    @property
    def left(self) -> float:
        """Seconds until the next attempt; 0 or less if it is due."""
        return self._next_at - monotonic()

    def failed(self) -> None:
        """Record a failure: the next attempt comes later."""
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
        self._next_at = monotonic() + self._pause

    def succeeded(self) -> None:
        """Record that something came. A connection alone does not count: the server may refuse to subscribe."""
        self._pause = 0.0


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


class Channels:
    """Subscriptions over one connection, which is opened again whenever it is lost.

    Args:
        at: The server.
    """

    def __init__(self, at: Target) -> None:
        self._make = connections(at, connect_timeout=BOUND, socket_timeout=BOUND)
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._subscriptions = Subscriptions()
        self._connection: Any = None
        self._pulse = Pulse()
        self._backoff = Backoff()

    def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe to channels; the confirmation comes as a message, also for a channel that is subscribed already."""
        channels = tuple(channels)
        with self._lock:
            self._subscriptions.add(channels)
            self._try_to_send(commands("SUBSCRIBE", channels))
        self._woken.set()

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """End subscriptions; the server learns of it before the next `read`."""
        with self._lock:
            self._subscriptions.drop(channels)

    def read(self, timeout: float) -> list[Message]:
        """Return the messages that are there, or else come within `timeout` seconds; none while the server is away."""
        try:
            connection = self._connection or self._opened(timeout)
            if connection is None:
                return []
            with self._lock:
                _send(connection, self._subscriptions.forgotten())
            found = self._received(connection, timeout)
            if not found:
                self._check(connection)
                return []
        except LINK_ERRORS:
            self._lose()
            return []
        self._pulse.heard()
        self._backoff.succeeded()
        return [message for message in found if message is not None]

    def wake(self) -> None:
        """Have a `read` return that waits in another thread."""
        with self._lock:
            self._try_to_send([("PING",)])
        self._woken.set()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._disconnect()

    def _opened(self, timeout: float) -> Any:
        """Connect when it is time, and subscribe to all channels; None if it is not time yet."""
        left = self._backoff.left
        if left > 0:
            self._woken.wait(min(left, timeout))
            self._woken.clear()
            return None
        connection = self._make()
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        self._pulse = Pulse()
        with self._lock:
            self._connection = connection
            _send(connection, commands("SUBSCRIBE", self._subscriptions.wanted))
        return connection

    def _received(self, connection: Any, timeout: float) -> list[Message | None]:
        """Return the replies that are there, or else come within `timeout` seconds."""
        found: list[Message | None] = []
        try:
            while len(found) < MOST_READ and connection.can_read(0 if found else timeout):
                found.append(message_of(connection.read_response(disable_decoding=True)))
        except Exception as error:
            with self._lock:  # until a thread that sends has finished
                if self._connection is connection:
                    raise
            # That thread could not send, so the connection was closed. Then redis-py raises, for example, a TypeError.
            raise RedisConnectionError("the connection for subscriptions was lost") from error
        return found

    def _check(self, connection: Any) -> None:
        """Send a PING after a long silence; end a connection that does not answer it."""
        if self._pulse.is_lost:
            self._lose()
        elif self._pulse.should_ask():
            with self._lock:
                _send(connection, [("PING",)])

    def _try_to_send(self, wanted: Sequence[tuple[str, ...]]) -> None:
        """Send, if it is connected. If that fails, the reader connects again and subscribes to all channels.

        A connection that failed must not be used again: redis-py would connect it, without the other subscriptions.
        """
        if self._connection is not None:
            try:
                _send(self._connection, wanted)
            except LINK_ERRORS:
                self._disconnect()

    def _lose(self) -> None:
        self._backoff.failed()
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


def _send(connection: Any, wanted: Sequence[tuple[str, ...]]) -> None:
    for command in wanted:
        connection.send_command(*command)
