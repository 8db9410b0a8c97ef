"""The event loop that runs in this thread, if one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# `asyncio.get_running_loop` raises where no loop runs, which is the usual case: 20 times the price, at every enqueue.
# `asyncio.__all__` has this form for event loops of other libraries.
running_loop: Callable[[], asyncio.AbstractEventLoop | None] = asyncio._get_running_loop  # noqa: SLF001 - see above
"""Returns the event loop that runs in this thread; None where none runs."""
