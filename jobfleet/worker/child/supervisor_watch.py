"""Notices a silent supervisor: a supervisor that is frozen or hangs does not renew leases."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from jobfleet.clock import boottime

log = logging.getLogger("jobfleet.worker")
CHECKS = 4
"""The number of checks within the allowed silence."""


class SupervisorWatch:
    """Notices when the supervisor falls silent, and when it sends frames again.

    The supervisor sends several frames per renewal interval, even if Redis is away. A child without a frame for a whole
    interval must not claim, because the leases of new jobs would end.

    Args:
        after: The allowed silence in seconds.
        on_change: Called with False when the supervisor is silent, and with True when it sends frames again.
    """

    def __init__(self, after: float, *, on_change: Callable[[bool], None]) -> None:
        self._after = after
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._heard_at = boottime()
        self._is_silent = False
        self._check_later()

    def heard(self) -> None:
        """A frame from the supervisor has arrived."""
        self._heard_at = boottime()
        if self._is_silent:
            self._is_silent = False
            log.info("worker.heard its supervisor is there again: claiming")
            self._on_change(True)

    def stop(self) -> None:
        """Stop the checks."""
        self._timer.cancel()

    def _check_later(self) -> None:
        self._due_at = boottime() + self._after / CHECKS
        self._timer = self._loop.call_later(self._after / CHECKS, self._check)

    def _check(self) -> None:
        now = boottime()
        # If this event loop was blocked, frames may be waiting: the supervisor was not silent then.
        is_on_time = now - self._due_at < self._after / CHECKS
        if is_on_time and not self._is_silent and now - self._heard_at > self._after:
            self._is_silent = True
            log.warning(
                "worker.unheard its supervisor is silent for %.1fs: claiming no more until it is heard", self._after
            )
            self._on_change(False)
        self._check_later()
