"""The log of a repeated fault: one line at its beginning, one per minute while it lasts, and one at its end."""

from __future__ import annotations

import logging

from jobfleet.clock import monotonic

AGAIN = 60.0
"""Seconds between the lines of one fault."""


class RepeatedFault:
    """Logs the faults of an action that is retried.

    Args:
        log: The logger.
        name: The name of the action; it begins each line.
        began: What follows the name in the lines of the fault.
        ended: What follows it in the line at the end.
    """

    def __init__(self, log: logging.Logger, name: str, *, began: str = "stumbled", ended: str = "recovered") -> None:
        self._log = log
        self._beginning = f"{name}.{began}"
        self._end = f"{name}.{ended}"
        self._began: float | None = None
        self._spoke_at = 0.0
        self._text = ""
        self._times = 0

    def failed(self, text: str, *, level: int = logging.WARNING, error: BaseException | None = None) -> None:
        """Record a failure; the same text within a minute is only counted.

        Args:
            text: The reason.
            level: The level of the log line.
            error: The exception, if its traceback is to be logged.
        """
        now = monotonic()
        self._times += 1
        if self._began is None:
            self._began = now
        elif text == self._text and now - self._spoke_at < AGAIN:
            return
        self._text, self._spoke_at = text, now
        more = f" (failed {self._times} times in {now - self._began:.0f} s)" if self._times > 1 else ""
        self._log.log(level, "%s %s%s", self._beginning, text, more, exc_info=error)

    def fine(self) -> None:
        """Record a success."""
        if self._began is not None:
            seconds, times = monotonic() - self._began, self._times
            self._began, self._times, self._text = None, 0, ""
            self._log.info("%s after=%.1fs failures=%d", self._end, seconds, times)
