"""Loss and return of Redis as a process sees them: logged, and counted for its metrics.

A store repeats what Redis did not answer and says nothing. Its recorder hears of every repetition and every
answer, so one object behind all calls of a process knows whether Redis is there: `Outage`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.metrics.tally import Tally
from jobfleet.store.call import Call
from jobfleet.store.replies import has_timed_out, reason_of, refuses_writes

GRACE = 0.5
"""Seconds without an answer that are no outage: a cut connection is made again within milliseconds."""
STALE = 2.0
"""A time-out is an outage at once if nothing else was answered for so many seconds; it took long enough itself."""
AGAIN = 60.0
"""Seconds between the lines of one outage."""
MOST, WITHIN = 5, 300.0
"""Outages that are logged within so many seconds; a connection that comes and goes must not fill the log."""


class Outage:
    """A recorder that notices when Redis is lost, and when it is back.

    Args:
        url: Where Redis is, masked.
        log: The logger of this process.
        tally: Where it counts; it is told of each trip, too.
        meanwhile: What happens while Redis is away, in one sentence; asked whenever a line is logged.
        on_loss: Is told when an outage has begun.
        on_return: Is told that Redis has answered again; whoever gives it calls `settle`. None to settle at once.
    """

    def __init__(
        self,
        url: str,
        log: logging.Logger,
        tally: Tally,
        *,
        meanwhile: Callable[[], str],
        on_loss: Callable[[], None] = lambda: None,
        on_return: Callable[[], None] | None = None,
    ) -> None:
        self._url = url
        self._log = log
        self._tally = tally
        self._meanwhile = meanwhile
        self._on_loss = on_loss
        self._on_return = on_return or self.settle
        self._answered_at = monotonic()
        self._began: float | None = None
        self._ended: float | None = None
        self._counted_until: float | None = None
        self._spoke_at: float | None = None
        self._needs_write = False
        self._lines: deque[float] = deque(maxlen=MOST)
        self._unlogged = 0

    @property
    def is_connected(self) -> bool:
        """Whether Redis answers, as far as this process knows; a gap too short for an outage does not count."""
        return self._counted_until is None or self._ended is not None

    @property
    def is_returning(self) -> bool:
        """Whether Redis has answered after an outage, and `settle` has not been called yet."""
        return self._ended is not None

    # ------------------------------------------------------------------------------- as a recorder

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        """A round trip was answered."""
        self._tally.tripped(calls, seconds)
        self._answered_at = monotonic()
        if self._began is None or self._ended is not None or not calls:
            return
        if self._needs_write and all(call.script.read_only for call in calls):
            return  # a replica, or a server without disk space, still answers reads
        if self._counted_until is None:
            self._began = None
            return
        self._count(self._answered_at)
        self._ended = self._answered_at
        self._on_return()

    def stumbled(self, error: BaseException) -> None:
        """A round trip has to be repeated."""
        self._tally.stumbled(error)
        now = monotonic()
        self._ended = None
        self._needs_write = refuses_writes(error)
        if self._began is None:
            self._began = now
        if self._counted_until is None:
            if now - self._began < GRACE and not (has_timed_out(error) and now - self._answered_at >= STALE):
                return
            self._counted_until = self._began
            self._tally.count("redis_outages_total")
            self._on_loss()
        self._count(now)
        self._speak(now, self._began, reason_of(error))

    # --------------------------------------------------------------------------------------- lines

    def settle(self, **counts: int) -> None:
        """Log that Redis is back, once after each outage.

        Args:
            counts: What became of what this process holds; each is a field of the line.
        """
        if self._began is None or self._ended is None:
            return
        seconds = self._ended - self._began
        if self._spoke_at is None:
            self._unlogged += 1
        else:
            text = "redis.back url=%s after=%.1fs" + "".join(f" {name}=%d" for name in counts)
            self._log.info(text, self._url, seconds, *counts.values())
        self._began = self._ended = self._counted_until = self._spoke_at = None

    def _speak(self, now: float, began: float, reason: str) -> None:
        if self._spoke_at is not None:
            if now - self._spoke_at >= AGAIN:
                self._spoke_at = now
                text = "redis.away url=%s for=%.0fs reason=%s. %s"
                self._log.warning(text, self._url, now - began, reason, self._meanwhile())
            return
        if len(self._lines) == MOST and now - self._lines[0] < WITHIN:
            return
        self._lines.append(now)
        self._spoke_at = now
        more = f" (and {self._unlogged} more outages since the last line)" if self._unlogged else ""
        self._unlogged = 0
        self._log.warning("redis.lost url=%s reason=%s. %s%s", self._url, reason, self._meanwhile(), more)

    def _count(self, now: float) -> None:
        """Add the time away up to now, so that a scrape during an outage sees it grow."""
        if self._counted_until is not None:
            self._tally.count("redis_outage_seconds_total", by=now - self._counted_until)
            self._counted_until = now
