"""Detection of Redis outages in a process, with log lines and metrics.

A store silently retries calls that got no reply. Its recorder learns of every retry and every reply. Therefore one
recorder behind all calls of a process knows whether Redis is available: `Outage`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.metrics.tally import Tally
from jobfleet.store.call import Call
from jobfleet.store.replies import has_timed_out, node_of, reason_of, refuses_writes

GRACE = 0.5
"""Seconds without a reply before an outage begins; a broken connection is restored within milliseconds."""
STALE = 2.0
"""A timeout begins an outage at once if the last other reply is this many seconds old."""
AGAIN = 60.0
"""Seconds between the lines of one outage."""
MOST, WITHIN = 5, 300.0
"""At most `MOST` outages are logged per `WITHIN` seconds, so that a flapping connection does not flood the log."""


class Outage:
    """A recorder that detects the loss and the return of Redis.

    Args:
        url: The masked URL of Redis.
        log: The logger of this process.
        tally: Counts the metrics, and records each round trip.
        meanwhile: Returns one sentence on the effects of the outage; called for each log line.
        on_loss: Called when an outage begins.
        on_return: Called when Redis replies again; the callee must call `settle`. None to settle at once.
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
        self._back_at = float("-inf")
        self._counted_until: float | None = None
        self._spoke_at: float | None = None
        self._needs_write = False
        self._lines: deque[float] = deque(maxlen=MOST)
        self._unlogged = 0
        self._nodes: dict[str, tuple[float, float, float]] = {}

    @property
    def is_connected(self) -> bool:
        """Whether Redis replies, as far as this process knows; a gap too short for an outage does not count."""
        return self._counted_until is None or self._ended is not None

    @property
    def seconds_connected(self) -> float:
        """The seconds since the last outage ended: 0.0 during an outage, infinite before the first one."""
        return monotonic() - self._back_at if self.is_connected else 0.0

    @property
    def is_returning(self) -> bool:
        """Whether Redis has replied after an outage, but `settle` has not been called yet."""
        return self._ended is not None

    # ------------------------------------------------------------------------------- as a recorder

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        """Record that a round trip got its reply."""
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
        self._ended = self._back_at = self._answered_at
        self._on_return()

    def stumbled(self, error: BaseException) -> None:
        """Record that a round trip has to be retried."""
        self._tally.stumbled(error)
        now = monotonic()
        if node := node_of(error):
            self._node_stumbled(node, now, reason_of(error))
            return
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
        """Log the return of Redis, once per outage.

        Args:
            counts: Effects of the outage on this process; each becomes a field of the line.
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

    def _node_stumbled(self, node: str, now: float, reason: str) -> None:
        """Log once per `AGAIN` that one node of a cluster is away. The others are served, so this begins no outage."""
        began, last, spoke_at = self._nodes.get(node, (now, now, float("-inf")))
        if now - last >= STALE:
            began = now
        if now - began >= GRACE and now - spoke_at >= AGAIN:
            text = "redis.lost url=%s node=%s reason=%s. Other nodes are served; lanes on this one wait for it"
            self._log.warning(text, self._url, node, reason)
            spoke_at = now
        self._nodes[node] = began, now, spoke_at

    def _count(self, now: float) -> None:
        """Add the outage time up to now, so that a scrape during an outage sees it grow."""
        if self._counted_until is not None:
            self._tally.count("redis_outage_seconds_total", by=now - self._counted_until)
            self._counted_until = now
