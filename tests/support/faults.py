"""Faults: links that do the work and then lose the replies. Seeded, so that a failure can be had again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from jobfleet.store.call import Command
from jobfleet.store.link.sync import AsyncLink, Link


class Faults:
    """Decides which exchanges go wrong, and remembers what was exchanged.

    Args:
        seed: Of the dice.
        share: The share of exchanges that lose replies after the server has done the work, 0.0 to 1.0.
        unsent: The share of exchanges that never reach the server.
        most: Lose replies of at most so many exchanges; None for no limit.

    Attributes:
        exchanges: The commands of every exchange.
        lost: How many exchanges lost replies, or were never sent.
    """

    def __init__(self, *, seed: int = 0, share: float = 0.5, unsent: float = 0.0, most: int | None = None) -> None:
        self._dice = random.Random(seed)
        self._share = share
        self._unsent = unsent
        self._most = most
        self.exchanges: list[list[Command]] = []
        self.lost = 0

    def note(self, commands: Sequence[Command]) -> None:
        """Remember an exchange."""
        self.exchanges.append(list(commands))

    def withhold(self, commands: Sequence[Command]) -> list[Any] | None:
        """Errors in place of an exchange that does not take place; None when it does."""
        if not self._unsent or self._dice.random() >= self._unsent:
            return None
        self.lost += 1
        return [RedisConnectionError("Connection refused.")] * len(commands)

    def lose(self, replies: list[Any]) -> list[Any]:
        """The replies, or only the first of them: the connection broke after the work was done."""
        if self._most is not None and self.lost >= self._most:
            return replies
        if not self._share or self._dice.random() >= self._share:
            return replies
        self.lost += 1
        kept = self._dice.randrange(len(replies))
        error = RedisConnectionError("Connection closed by server.")
        return replies[:kept] + [error] * (len(replies) - kept)


class FlakyLink:
    """A link that performs every exchange, and then loses the replies of some."""

    def __init__(self, link: Link, faults: Faults) -> None:
        self._link = link
        self._faults = faults

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; a reply or an exception for each."""
        self._faults.note(commands)
        return self._faults.withhold(commands) or self._faults.lose(self._link.exchange(commands))

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each part as soon as it is made; a reply or an exception for each command."""
        made = list(parts)
        commands = list(chain.from_iterable(made))
        if not commands:
            return []
        self._faults.note(commands)
        return self._faults.withhold(commands) or self._faults.lose(self._link.exchange_as_made(iter(made)))

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """What the server of a new connection says of itself."""
        return self._link.greet(leaves=leaves)

    def close(self) -> None:
        """Let the connections go."""
        self._link.close()


class AsyncFlakyLink:
    """A link that performs every exchange, and then loses the replies of some; for asyncio."""

    def __init__(self, link: AsyncLink, faults: Faults) -> None:
        self._link = link
        self._faults = faults

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; a reply or an exception for each."""
        self._faults.note(commands)
        return self._faults.withhold(commands) or self._faults.lose(await self._link.exchange(commands))

    async def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each part as soon as it is made; a reply or an exception for each command."""
        made = list(parts)
        commands = list(chain.from_iterable(made))
        if not commands:
            return []
        self._faults.note(commands)
        return self._faults.withhold(commands) or self._faults.lose(await self._link.exchange_as_made(iter(made)))

    async def block(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """Send commands, the first of which may block for `timeout` seconds; their replies may be lost too."""
        self._faults.note(commands)
        return self._faults.withhold(commands) or self._faults.lose(await self._link.block(commands, timeout))

    @property
    def server(self) -> str | None:
        """Which server the connections lead to."""
        return self._link.server

    async def look_again(self) -> None:
        """See which server the address leads to now."""
        await self._link.look_again()

    async def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """What the server of a new connection says of itself."""
        return await self._link.greet(leaves=leaves)

    async def close(self) -> None:
        """Let the connections go."""
        await self._link.close()
