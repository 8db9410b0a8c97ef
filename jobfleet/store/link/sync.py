"""The blocking connection to Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from redis.exceptions import NoPermissionError, RedisError

from jobfleet.store.call import Command
from jobfleet.store.link.busypoll import BusyPoll
from jobfleet.store.link.pool import MOST
from jobfleet.store.link.pool.sync import Pool
from jobfleet.store.link.protocol import DROPPED, LINK_ERRORS, answered, fill, packed
from jobfleet.store.server.connect import connections
from jobfleet.store.server.greeting import ASKED, Greeting, info_of
from jobfleet.store.server.target import Target


class SocketLink:
    """Blocking connections, safe for threads and after a fork."""

    def __init__(
        self,
        at: Target,
        *,
        connect_timeout: float,
        socket_timeout: float,
        busy_poll: float = 0.0,
        max_connections: int = MOST,
    ) -> None:
        self.busy_poll: BusyPoll = BusyPoll(busy_poll)
        self._make = connections(at, connect_timeout=connect_timeout, socket_timeout=socket_timeout)
        self._fake = at.fake
        self.pool: Pool = Pool(self._connect, most=max_connections, patience=socket_timeout)
        self._greeting = Greeting(needs_primary=False)  # a write reveals a replica, and reads may use one

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; return a reply or an exception for each."""
        if not commands:
            return []
        replies: list[Any] = []
        connection = None
        try:
            connection = self.pool.take()
            if self._fake:
                _exchange_fake(connection, commands, replies)
            else:
                connection.send_packed_command(packed(connection, commands), check_health=False)
                self.busy_poll.look(connection)
                for _ in commands:
                    replies.append(read_reply(connection))  # noqa: PERF401 - what came before an error stays
        except LINK_ERRORS as error:
            if connection is not None:
                self.pool.drop(connection)
                self.pool.close()  # the idle connections are probably broken too; each would fail one call
            return fill(replies, commands, error)
        except BaseException:
            if connection is not None:
                self.pool.drop(connection)
            raise
        self.pool.give(connection)
        return replies

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each non-empty part as soon as it is made; return a reply or an exception for each command."""
        if self._fake:
            return self.exchange(list(chain.from_iterable(parts)))
        sent: list[Command] = []
        replies: list[Any] = []
        connection = None
        self.pool.nest()  # a hook that runs while a part is made may call the fleet
        try:
            for part in parts:
                sent += part
                connection = connection or self.pool.take()
                connection.send_packed_command(packed(connection, part), check_health=False)
            for _ in sent:
                replies.append(read_reply(connection))  # noqa: PERF401 - what came before an error stays
        except LINK_ERRORS as error:
            if connection is not None:
                self.pool.drop(connection)
                self.pool.close()
            sent += chain.from_iterable(parts)  # make the remaining calls, so that all can be sent again
            return fill(replies, sent, error)
        except BaseException:
            if connection is not None:
                self.pool.drop(connection)
            raise
        finally:
            self.pool.unnest()
        if connection is not None:
            self.pool.give(connection)
        return replies

    def _connect(self) -> Any:
        connection = self._make()
        try:
            connection.connect()
            if self._greeting.is_due and not self._fake:
                connection.send_command(*ASKED)
                self._greeting.hear(_reply_to_greeting(connection))
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """Return the INFO of the server that a new connection leads to; empty if the user may not ask."""
        if leaves:
            self.pool.close()
        connection = self._make()
        try:
            connection.connect()
            connection.send_command(*ASKED)
            return _reply_to_greeting(connection)
        except LINK_ERRORS as error:
            return answered(error)
        finally:
            connection.disconnect()

    def close(self) -> None:
        """Close the connections."""
        self.pool.close()


def _reply_to_greeting(connection: Any) -> Mapping[str, str]:
    """Read the answer to the greeting; nothing if the user may not ask, as on some managed servers."""
    try:
        return info_of(connection.read_response(disable_decoding=True))
    except NoPermissionError:
        return {}


def read_reply(connection: Any) -> Any:
    """Return the next reply, or the error of the server in its place."""
    try:
        return connection.read_response(disable_decoding=True)
    except DROPPED:
        raise
    except RedisError as error:
        return answered(error)


def _exchange_fake(connection: Any, commands: Sequence[Command], replies: list[Any]) -> None:
    for command in commands:
        connection.send_command(*command)
        replies.append(read_reply(connection))
