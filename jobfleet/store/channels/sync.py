"""The blocking connection for subscriptions: one thread reads, any thread may subscribe."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

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
from jobfleet.store.server.connect import connections
from jobfleet.store.server.target import Target


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
