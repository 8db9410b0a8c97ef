"""Links that lose things: wrappers around a real link, with a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from jobfleet.store.call import Command
from jobfleet.store.link import AsyncLink, Link


class Faults:
    """Decides which exchanges fail.

    Args:
        seed: Of the choice.
        lost: Share of exchanges whose replies are lost after the server has executed them.
        unsent: Share of exchanges that never reach the server.

    Attributes:
        count: How many were made to fail.
    """

    def __init__(self, seed: int, *, lost: float = 0.0, unsent: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._lost = lost
        self._unsent = unsent
        self.count = 0

    def before(self) -> bool:
        """Whether this exchange never reaches the server."""
        return self._draw(self._unsent)

    def after(self, replies: list[Any]) -> list[Any]:
        """The replies as the caller gets them: all, or from a random place on none."""
        if not self._draw(self._lost):
            return replies
        kept = self._random.randrange(len(replies))
        return replies[:kept] + [RedisConnectionError("the reply was lost")] * (len(replies) - kept)

    def _draw(self, share: float) -> bool:
        hit = self._random.random() < share
        self.count += hit
        return hit


class FlakyLink:
    """A link that blocks, with faults."""

    def __init__(self, link: Link, faults: Faults) -> None:
        self._link = link
        self._faults = faults

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, perhaps in vain."""
        if self._faults.before():
            return [RedisConnectionError("it was never sent")] * len(commands)
        return self._faults.after(self._link.exchange(commands))

    def close(self) -> None:
        """Let the connections go."""
        self._link.close()


class AsyncFlakyLink:
    """A link for asyncio, with faults."""

    def __init__(self, link: AsyncLink, faults: Faults) -> None:
        self._link = link
        self._faults = faults

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, perhaps in vain."""
        if self._faults.before():
            return [RedisConnectionError("it was never sent")] * len(commands)
        return self._faults.after(await self._link.exchange(commands))

    async def block(self, command: Command, timeout: float) -> Any:
        """Block; the marker that was popped may be lost."""
        reply = await self._link.block(command, timeout)
        return self._faults.after([reply])[0]

    async def close(self) -> None:
        """Let the connections go."""
        await self._link.close()
