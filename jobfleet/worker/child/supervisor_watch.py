"""Whether a child hears from its supervisor: one that is frozen, or hangs, renews no lease."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from jobfleet.clock import boottime

log = logging.getLogger("jobfleet.worker")
LOOKS = 4
"""Looks within the silence that is allowed."""


class SupervisorWatch:
    """Notices that the supervisor is silent, and that it is heard again.

    The supervisor sends a frame several times within a renewal's interval, whatever Redis does. A child that hears none
    for a whole interval must claim nothing: the leases of new jobs would run out.

    Args:
        after: Seconds of silence that are too many.
        on_change: Is told when there were so many, with False, and when the supervisor is heard again, with True.
    """

    def __init__(self, after: float, *, on_change: Callable[[bool], None]) -> None:
        self._after = after
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._heard_at = boottime()
        self._is_silent = False
        self._look_later()

    def heard(self) -> None:
        """Something came from the supervisor."""
        self._heard_at = boottime()
        if self._is_silent:
            self._is_silent = False
            log.info("worker.heard its supervisor is there again: claiming")
            self._on_change(True)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look_later(self) -> None:
        self._due_at = boottime() + self._after / LOOKS
        self._timer = self._loop.call_later(self._after / LOOKS, self._look)

    def _look(self) -> None:
        now = boottime()
        # A loop that was held up has frames to read first: it was not the supervisor who was silent.
        is_on_time = now - self._due_at < self._after / LOOKS
        if is_on_time and not self._is_silent and now - self._heard_at > self._after:
            self._is_silent = True
            log.warning(
                "worker.unheard its supervisor is silent for %.1fs: claiming no more until it is heard", self._after
            )
            self._on_change(False)
        self._look_later()
