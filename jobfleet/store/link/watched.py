"""Links whose exchanges a watcher sees, and which script a command runs; for tests and injected faults."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jobfleet.errors import StoreUnavailable
from jobfleet.store.call import Argument, Command
from jobfleet.store.link.sync import AsyncLink, Link
from jobfleet.store.replies import translate
from jobfleet.store.script import PREFIX, Script, function_of, library, load, loaded, names
from jobfleet.store.target import Watcher

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


# Which script a command runs, for watchers, which see no calls; and loading the scripts as a library of functions.


_EVALS = frozenset(("EVALSHA", "EVALSHA_RO", "EVAL", "EVAL_RO", "FCALL", "FCALL_RO"))
_OFTEN = ("claim", "settle", "keep", "enqueue", "enqueue_plain", "status", "fleet", "renew", "beat", "tick")
"""The scripts to look at first; the others are read only if a command runs none of these."""
_functions: dict[Argument, Script] = {}
_left: list[str] = []


def script_of(command: Command) -> Script | None:
    """Return the script that a command runs or loads; None for other commands."""
    if command[0] in _EVALS:
        return _found(command[1])
    return _found(command[2]) if command[:2] == ("SCRIPT", "LOAD") else None


def known() -> list[Script]:
    """Return the scripts that were read so far: to run them, or to find one."""
    return [script for key, script in list(loaded.items()) if key == script.sha]


def _found(text: Argument) -> Script | None:
    """Find a script by its hash, its function, or either form of its source; also one that names those before it."""
    if text in loaded:
        return loaded[text]
    if not _functions:
        _left.extend([*(name for name in names() if name not in _OFTEN), *reversed(_OFTEN)])
    while text not in _functions and text not in loaded and _left:
        script = load(_left.pop())
        _functions[function_of(script.name)] = script
    return _functions.get(text) or loaded.get(text)


class Installed(NamedTuple):
    """What `install` has done.

    Attributes:
        name: The name of the library.
        functions: The number of its functions.
        others: The libraries of other revisions.
    """

    name: str
    functions: int
    others: tuple[str, ...]


def install(link: Link) -> Installed:
    """Load the library into the server, or into each primary of a cluster; a library of its name is replaced.

    Raises:
        ConfigError: The user may not do this, or the server has no functions.
        JobfleetError: The server refuses the library.
    """
    made = library()
    replies = link.exchange(
        [("FUNCTION", "LOAD", "REPLACE", made.text), ("FUNCTION", "LIST", "LIBRARYNAME", f"{PREFIX}*")]
    )
    for reply in replies:
        if isinstance(reply, BaseException):
            raise translate(reply)
    found = {bytes(word).decode() for row in replies[1] for word in row if isinstance(word, bytes)}
    others = sorted(word for word in found if word.startswith(PREFIX) and word != made.name)
    return Installed(made.name, len(made.functions), tuple(others))
