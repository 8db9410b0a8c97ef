"""Busy polling: a producer polls for a reply for a moment before it sleeps.

On a virtual machine, to wake a sleeping thread takes longer than a nearby server takes to reply. Between two polls the
CPU is free for other threads, because the server may need the same CPU. If replies come later, from another city or an
overloaded server, polling would only waste CPU. Therefore each failure pauses the polling, for longer each time, like
the halt polling of KVM (Linux, Documentation/virt/kvm/halt-polling.rst).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from jobfleet.clock import monotonic

MOST_LEFT_OUT = 255
give_way: Callable[[], object] = os.sched_yield if hasattr(os, "sched_yield") else partial(time.sleep, 0)


class Odds:
    """Decides whether to poll: after the nth failure in a row, it skips 2ⁿ − 1 exchanges.

    Args:
        limit: Seconds for which a reply is polled; 0 for never.
    """

    __slots__ = ("_left_out", "_misses", "limit")

    def __init__(self, limit: float) -> None:
        self.limit: float = limit
        self._misses = 0
        self._left_out = 0

    def are_good(self) -> bool:
        """Whether to poll for the reply of this exchange; call it once per exchange."""
        if self._left_out:
            self._left_out -= 1
            return False
        return self.limit > 0

    def found(self) -> None:
        """Record that a reply came during the polling."""
        self._misses = 0

    def missed(self) -> None:
        """Record that no reply came during the polling."""
        self._misses += 1
        self._left_out = min(2**self._misses - 1, MOST_LEFT_OUT)


class BusyPoll:
    """Polls for the replies of a blocking link; one thread at a time, because several would compete for the CPU.

    Args:
        limit: Seconds for which a reply is polled; 0 for never.
    """

    def __init__(self, limit: float) -> None:
        self.odds: Odds = Odds(limit)
        self._turn = threading.Lock()

    def look(self, connection: Any) -> None:
        """Return when a redis-py connection has data to read, or the time is over.

        Raises:
            ConnectionError: The server has closed the connection (redis-py's exception).
        """
        if not self.odds.are_good() or not self._turn.acquire(blocking=False):
            return
        try:
            until = monotonic() + self.odds.limit
            while not connection.can_read(0):
                if monotonic() >= until:
                    self.odds.missed()
                    return
                give_way()
            self.odds.found()
        finally:
            self._turn.release()


class AsyncBusyPoll:
    """Keeps an event loop awake while a reply is due; other callbacks of the loop run as usual.

    Args:
        limit: Seconds for which a reply is polled; 0 for never.
    """

    def __init__(self, limit: float) -> None:
        self.odds: Odds = Odds(limit)
        self._due = 0
        self._until = 0.0
        self._is_called = False

    def sent(self) -> None:
        """Record that a reply is due."""
        self._due += 1
        if self._due > 1 or not self.odds.are_good():
            return
        self._until = monotonic() + self.odds.limit
        if not self._is_called:
            self._call()

    def done(self) -> None:
        """Record that the reply has come, or is not awaited any more."""
        self._due -= 1
        if self._until and not self._due:
            self._until = 0.0
            self.odds.found()

    def _call(self) -> None:
        """Do nothing: a loop with a pending callback polls its sockets without sleeping."""
        self._is_called = True
        asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._is_called = False
        if not self._until:
            return
        if monotonic() < self._until:
            give_way()
            self._call()
        else:
            self._until = 0.0
            self.odds.missed()
