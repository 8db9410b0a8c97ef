"""Links: send commands, get replies, in one exchange. The one place where bytes meet sockets.

redis-py's own repetition is off: a reply may be lost after the script ran, and only the store
knows how to ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, cast

from redis.exceptions import ReadOnlyError, RedisError

from jobfleet.store.call import Command
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
