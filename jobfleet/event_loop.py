"""The event loop that runs in this thread, if one does, and calls in other threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# `asyncio.get_running_loop` raises where no loop runs, which is the usual case: 20 times the price, at every enqueue.
# `asyncio.__all__` has this form for event loops of other libraries.
running_loop: Callable[[], asyncio.AbstractEventLoop | None] = asyncio._get_running_loop  # noqa: SLF001 - see above
"""Returns the event loop that runs in this thread; None where none runs."""


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread, as `asyncio.to_thread`; but in this one if the program ends.

    When the main thread has ended, Python starts no more calls in threads, but a worker inside the program still lets
    its jobs end.
    """
    has_begun = False

    def call() -> T:
        nonlocal has_begun
        has_begun = True
        return function(*args, **kwargs)

    try:
        return await asyncio.to_thread(call)
    except RuntimeError:
        if has_begun:
            raise
        return call()
