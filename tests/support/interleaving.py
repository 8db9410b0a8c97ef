"""An event loop that interleaves on purpose: what is ready runs in an order drawn by a seed, one callback per turn.

asyncio runs callbacks in the order in which they became ready, so a race between two tasks shows only under load. Here
every order is as likely as any other, the same seed gives the same order again, and time is virtual: when nothing is
ready, the clock jumps to the next timer. Only for code without sockets, since transports rely on asyncio's order.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class StalledError(AssertionError):
    """Nothing is ready and nothing is due, but the test is not over: somebody waits for ever."""


class InterleavingLoop(asyncio.SelectorEventLoop):
    """Runs ready callbacks in an order drawn by a seed, in virtual time.

    Args:
        seed: Of the dice.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = random.Random(seed)
        self._now = 0.0

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def _run_once(self) -> None:
        loop: Any = self  # asyncio's own queues have no public names
        if not loop._ready:
            loop._process_events(loop._selector.select(0))  # what threads have handed over
        if not loop._ready:
            self._advance(loop)
        loop._ready.rotate(-self._dice.randrange(len(loop._ready)))
        handle = loop._ready.popleft()
        if not handle._cancelled:
            handle._run()

    def _advance(self, loop: Any) -> None:
        while loop._scheduled and loop._scheduled[0]._cancelled:
            heapq.heappop(loop._scheduled)._scheduled = False
        if not loop._scheduled:
            raise StalledError("nothing is ready and nothing is due, but somebody still waits")
        self._now = max(self._now, loop._scheduled[0]._when)
        while loop._scheduled and loop._scheduled[0]._when <= self._now:
            handle = heapq.heappop(loop._scheduled)
            handle._scheduled = False
            loop._ready.append(handle)


def interleaved(main: Callable[[random.Random], Coroutine[Any, Any, T]], *, seed: int) -> T:
    """Run a coroutine to its end on an `InterleavingLoop`.

    Args:
        main: Makes the coroutine; it is given dice of its own, drawn by the same seed.
        seed: Of both dice.

    Raises:
        StalledError: Somebody waits for ever.
    """
    with asyncio.Runner(loop_factory=lambda: InterleavingLoop(seed)) as runner:
        return runner.run(main(random.Random(f"main {seed}")))


async def turns(count: int) -> None:
    """Give way so many times: others may run in between."""
    for _ in range(count):
        await asyncio.sleep(0)
