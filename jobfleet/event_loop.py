"""The event loop that runs in this thread, if one does, and calls in other threads."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
CALM = 10
"""The nice value of a calm thread: about a tenth of the weight of others."""

# `asyncio.get_running_loop` raises where no loop runs, which is the usual case: 20 times the price, at every enqueue.
# `asyncio.__all__` has this form for event loops of other libraries.
running_loop: Callable[[], asyncio.AbstractEventLoop | None] = asyncio._get_running_loop  # noqa: SLF001 - see above
"""Returns the event loop that runs in this thread; None where none runs."""


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread, as `asyncio.to_thread`; but in this one if the program ends.

    When the main thread has ended, Python starts no more calls in threads, but a worker inside the program still lets
    its jobs end.
    """
    return await _in_other(asyncio.to_thread, partial(function, *args, **kwargs))


class CalmThread:
    """A thread for work that may be late: while others need the CPUs, the kernel gives it little of them.

    Only Linux has a priority per thread. Elsewhere, this is a thread like any other.

    Args:
        name: The name of the thread.
    """

    def __init__(self, name: str) -> None:
        from concurrent.futures import ThreadPoolExecutor  # most programs need none

        self._executor = ThreadPoolExecutor(1, name, _be_nice)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in this thread; like `in_thread`, in the caller's one if the program ends."""
        start = partial(asyncio.get_running_loop().run_in_executor, self._executor)
        return await _in_other(start, partial(function, *args, **kwargs))

    def close(self) -> None:
        """End the thread when its call has ended."""
        self._executor.shutdown(wait=False)


async def _in_other(start: Callable[[Callable[[], T]], Awaitable[T]], function: Callable[[], T]) -> T:
    has_begun = False

    def call() -> T:
        nonlocal has_begun
        has_begun = True
        return function()

    try:
        return await start(call)
    except RuntimeError:
        if has_begun:
            raise
        return call()


def _be_nice() -> None:
    if sys.platform == "linux":  # where a thread has an id of its own as a process has
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, max(CALM, os.getpriority(os.PRIO_PROCESS, thread)))
