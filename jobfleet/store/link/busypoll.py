"""Busy polling: a producer looks for a reply for a moment before it sleeps on it.

Whoever sleeps has to be woken, and on a virtual machine that takes longer than a server nearby takes to answer. Between
two looks the CPU is left to whoever else wants it: the server may need that very one. Where replies come later, from
another city or a server under load, looking would only burn CPU; so what was in vain is left out for a while, longer
each time, as the halt polling of KVM shrinks (Linux, Documentation/virt/kvm/halt-polling.rst).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from functools import partial
from typing import Any

from jobfleet.clock import monotonic

MOST_LEFT_OUT = 255
give_way = os.sched_yield if hasattr(os, "sched_yield") else partial(time.sleep, 0)


class Odds:
    """Whether to look: after the nth time in vain, not for the next 2ⁿ − 1 exchanges.

    Args:
        limit: Seconds for which a reply is looked for; 0 for never.
    """

    __slots__ = ("_left_out", "_misses", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._misses = 0
        self._left_out = 0

    def are_good(self) -> bool:
        """Whether to look for the reply of this exchange; to be asked once each."""
        if self._left_out:
            self._left_out -= 1
            return False
        return self.limit > 0

    def found(self) -> None:
        """A reply came while it was looked for."""
        self._misses = 0

    def missed(self) -> None:
        """None came."""
        self._misses += 1
        self._left_out = min(2**self._misses - 1, MOST_LEFT_OUT)


class BusyPoll:
    """Looks for the replies of a link that blocks; one thread at a time, as several would keep each other from the CPU.

    Args:
        limit: Seconds for which a reply is looked for; 0 for never.
    """

    def __init__(self, limit: float) -> None:
        self.odds = Odds(limit)
        self._turn = threading.Lock()

    def look(self, connection: Any) -> None:
        """Return when a redis-py connection has something to read, or time is up.

        Raises:
            ConnectionError: redis-py's; the server has closed it.
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
    """Keeps an event loop from sleeping while a reply is due; everything else that is ready has its turn as ever.

    Args:
        limit: Seconds for which a reply is looked for; 0 for never.
    """

    def __init__(self, limit: float) -> None:
        self.odds = Odds(limit)
        self._due = 0
        self._until = 0.0
        self._is_called = False

    @property
    def is_looking(self) -> bool:
        """Whether the loop is kept from sleeping now."""
        return self._until > 0

    def sent(self) -> None:
        """A reply is due from now on."""
        self._due += 1
        if self._due > 1 or not self.odds.are_good():
            return
        self._until = monotonic() + self.odds.limit
        if not self._is_called:
            self._call()

    def done(self) -> None:
        """It has come, or is not waited for any more."""
        self._due -= 1
        if self._until and not self._due:
            self._until = 0.0
            self.odds.found()

    def _call(self) -> None:
        """A loop that has something to call asks its sockets and goes on."""
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
