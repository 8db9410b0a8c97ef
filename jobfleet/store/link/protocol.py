"""Links: send commands and receive replies in one exchange. Only links use sockets.

redis-py's own retries are disabled, because a reply may be lost after the script ran, and only the store knows how to
retry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from redis.exceptions import ReadOnlyError, RedisError

from jobfleet.store.call import Command
from jobfleet.store.round_trip.replies import CONNECTION_ERRORS

pack: Callable[[Command], bytes] | None
try:
    import hiredis
except ImportError:  # redis-py's own packing takes five times as long
    pack = None
else:
    pack = cast(Callable[[Command], bytes], hiredis.pack_command)
LINK_ERRORS = (*CONNECTION_ERRORS, RedisError)
"""Errors that a greeting may also get: SELECT of a missing database, or INFO without permission."""
DROPPED = (*CONNECTION_ERRORS, ReadOnlyError)
"""Errors that end a connection: a server that became a replica stays one, and the address may lead to its successor."""
LATE = 2.0
"""Seconds after the timeout of a blocking command at which its connection counts as half open."""


class Link(Protocol):
    """A connection to a server."""

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; return a reply or an exception for each."""

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each non-empty part as soon as it is made; return a reply or an exception for each command."""

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """Return the INFO of the server that a new connection leads to; empty without permission, or of a cluster.

        Args:
            leaves: Whether to close the idle connections, because they lead to another server.
        """

    def close(self) -> None:
        """Close the connections."""


class AsyncLink(Protocol):
    """An asynchronous connection to a server."""

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; return a reply or an exception for each."""

    async def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each non-empty part as soon as it is made; return a reply or an exception for each command."""

    async def block(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """Send commands in one pipeline, of which the first may block for `timeout` seconds."""

    @property
    def server(self) -> str | None:
        """The run id of the server that the connections lead to; None if it is unknown."""

    async def look_again(self) -> None:
        """Check which server the address leads to now; close connections that lead to another one."""

    async def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """Return the INFO of the server that a new connection leads to; see `Link.greet`."""

    async def close(self) -> None:
        """Close the connections."""


def packed(connection: Any, commands: Sequence[Command]) -> Any:
    """Encode commands for the socket."""
    if pack is not None:
        return [pack(commands[0]) if len(commands) == 1 else b"".join([pack(command) for command in commands])]
    return connection.pack_commands(commands)


def answered(error: BaseException) -> BaseException:
    """Strip the tracebacks of an error, because they would form a reference cycle with the list of replies."""
    part: BaseException | None = error
    while part is not None:  # its cause has a traceback, too
        part.__traceback__ = None
        part = part.__cause__ or part.__context__
    return error


def fill(replies: list[Any], commands: Sequence[Command], error: BaseException) -> list[Any]:
    """Use the error as the reply to each command that got none."""
    return replies + [answered(error)] * (len(commands) - len(replies))
