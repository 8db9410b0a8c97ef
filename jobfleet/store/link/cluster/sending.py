"""One of several exchanges of a thread that are in flight at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobfleet.store.call import Command
from jobfleet.store.link.protocol import LINK_ERRORS, fill, packed
from jobfleet.store.link.sync import SocketLink, read_reply


class Sending:
    """Commands that were sent to one node. Its replies must be read, or it must be abandoned.

    Args:
        link: The link to the node.
        commands: The commands.
    """

    def __init__(self, link: SocketLink, commands: Sequence[Command]) -> None:
        self._pool = link.pool
        self._commands = commands
        self._connection: Any = None
        self._error: Exception | None = None
        is_first = self._pool.nest()  # threads that have a connection here, and wait for one there, could block
        try:
            self._connection = self._pool.take()
            self._connection.send_packed_command(packed(self._connection, commands), check_health=False)
        except LINK_ERRORS as error:
            self._error = error
        except BaseException:
            self.abandon()
            raise
        finally:
            if is_first:
                self._pool.unnest()

    def replies(self) -> list[Any]:
        """Return a reply or an exception for each command."""
        found: list[Any] = []
        if self._error is None:
            try:
                for _ in self._commands:
                    found.append(read_reply(self._connection))  # noqa: PERF401 - what came before an error stays
            except LINK_ERRORS as error:
                self._error = error
        if self._error is None:
            connection, self._connection = self._connection, None
            self._pool.give(connection)
            return found
        if self._connection is not None:
            self.abandon()
            self._pool.close()
        return fill(found, self._commands, self._error)

    def abandon(self) -> None:
        """Close the connection, because replies are left on it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.drop(connection)
