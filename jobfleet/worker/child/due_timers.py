"""Timers for jobs that are due soon. A tick announces the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from jobfleet.store.keys import Lane


class DueTimers:
    """At most one timer per lane.

    Args:
        loop: The event loop.
        due: Receives a lane when its time has come.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Callable[[Lane], None]) -> None:
        self._loop = loop
        self._due = due
        self._timers: dict[Lane, asyncio.TimerHandle] = {}

    def set(self, lane: Lane, seconds: float | None) -> None:
        """Replace the timer of a lane; None for no timer."""
        timer = self._timers.pop(lane, None)
        if timer is not None:
            timer.cancel()
        if seconds is not None:
            self._timers[lane] = self._loop.call_later(seconds + 0.001, self._due, lane)

    def cancel(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
