"""Both clients under one tongue, so that one suite holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import Any

from jobfleet import AsyncFleet, Fleet


class Either:
    """A `Fleet` or an `AsyncFleet`, whose verbs are awaited.

    Args:
        fleet: The client.
    """

    def __init__(self, fleet: Fleet | AsyncFleet) -> None:
        self.fleet = fleet

    async def __call__(self, verb: str, *args: Any, **options: Any) -> Any:
        """Do a verb; one that blocks does so in a thread, where no loop runs."""
        return await finished(getattr(self.fleet, verb), *args, **options)

    async def all(self, verb: str, *args: Any, into: list[Any] | None = None, **options: Any) -> list[Any]:
        """Do a verb that answers one thing after the other, to the end; each is put into a list as it comes."""
        found = [] if into is None else into
        answer = getattr(self.fleet, verb)(*args, **options)
        if isinstance(answer, AsyncIterable):
            async for one in answer:
                found.append(one)
        else:
            await asyncio.to_thread(found.extend, answer)
        return found

    async def close(self) -> None:
        """Let the connections go."""
        if isinstance(self.fleet, Fleet):
            self.fleet.close()
        else:
            await self.fleet.aclose()


async def finished(method: Any, *args: Any, **options: Any) -> Any:
    """Call a method of a client or a handle and await its end."""
    if asyncio.iscoroutinefunction(method):
        return await method(*args, **options)
    return await asyncio.to_thread(method, *args, **options)
