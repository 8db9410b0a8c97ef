"""Links whose exchanges a watcher sees: for tests, and for workers that inject faults."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobfleet.errors import StoreUnavailable
from jobfleet.store.call import Command
from jobfleet.store.link.protocol import AsyncLink, Link
from jobfleet.store.server.watcher import Watcher

REFUSED = 0.02
"""Seconds that a refusal takes, so that those who try again at once leave the event loop time for others."""


class WatchedLink:
    """A blocking link, watched.

    Args:
        link: The link.
        watcher: What sees its exchanges.
    """

    def __init__(self, link: Link, watcher: Watcher) -> None:
        self._link = link
        self._watcher = watcher

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; return a reply or an exception for each."""
        replies = self._link.exchange(self._watcher.sending(commands))
        return self._watcher.received(commands, replies)

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each non-empty part as soon as it is made; return a reply or an exception for each command."""
        commands: list[Command] = []
        replies = self._link.exchange_as_made(_seen(parts, commands, self._watcher))
        return self._watcher.received(commands, replies)

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """Return the INFO of the server that a new connection leads to."""
        return self._link.greet(leaves=leaves)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()


class AsyncWatchedLink:
    """An asynchronous link, watched.

    Args:
        link: The link.
        watcher: What sees its exchanges.
    """

    def __init__(self, link: AsyncLink, watcher: Watcher) -> None:
        self._link = link
        self._watcher = watcher

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; return a reply or an exception for each."""
        try:
            replies = await self._link.exchange(self._watcher.sending(commands))
            return self._watcher.received(commands, replies)
        except StoreUnavailable:
            await asyncio.sleep(REFUSED)
            raise

    async def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each non-empty part as soon as it is made; return a reply or an exception for each command."""
        commands: list[Command] = []
        replies = await self._link.exchange_as_made(_seen(parts, commands, self._watcher))
        return self._watcher.received(commands, replies)

    async def block(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """Send commands in one pipeline, of which the first may block for `timeout` seconds."""
        try:
            replies = await self._link.block(self._watcher.sending(commands), timeout)
            return self._watcher.received(commands, replies)
        except StoreUnavailable:
            await asyncio.sleep(REFUSED)
            raise

    @property
    def server(self) -> str | None:
        """The run id of the server that the connections lead to; None if it is unknown."""
        return self._link.server

    async def look_again(self) -> None:
        """Check which server the address leads to now; close connections that lead to another one."""
        await self._link.look_again()

    async def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """Return the INFO of the server that a new connection leads to."""
        return await self._link.greet(leaves=leaves)

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()


def _seen(parts: Iterator[Sequence[Command]], commands: list[Command], watcher: Watcher) -> Iterator[Sequence[Command]]:
    """Show parts to a watcher while they are made; note their commands."""
    for part in parts:
        commands += part
        yield watcher.sending(part) if part else part
