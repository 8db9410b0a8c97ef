"""Decides whether the archive waits for the end of a burst of events. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

L = TypeVar("L")

BURST = 20_000
"""Events per second, over all lanes, that are a burst. The reaper and its database would need most of a core for them,
which the jobs may need more."""

BUSY, BACKLOG = 5_000, 2_000
"""Fewer events per second are a burst, too, if at least so many due jobs wait: a slow or busy machine has fewer."""

WINDOW = 0.1
"""The shortest time in seconds over which events are counted, so that a few events at once do not count as a burst."""

CALM = 0.3
"""Seconds without a burst after which it is over. The jobs may pause for a moment."""

PATIENCE = 10.0
"""The longest time in seconds for which events wait for the end of a burst."""


class Pace:
    """The pace of the events that come, and how long they wait for the archive.

    Args:
        room: The most events that may wait in a lane.
        patience: The longest time in seconds for which events wait.
        now: The time of the monotonic clock.
    """

    def __init__(self, room: int, patience: float, now: float) -> None:
        self._room = room
        self._patience = patience
        self._counts: Mapping[Any, int] = {}
        self._rate = 0.0
        self._read_at = now
        self._counted_at = self._burst_at = float("-inf")

    def has_read_all(self, at: float) -> None:
        """Note that all events from before a time were read.

        Args:
            at: A time of the monotonic clock.
        """
        self._read_at = at

    def busy_lanes(self, counts: Mapping[L, int], now: float) -> list[L]:
        """Return the lanes with new events, if these are so many that waiting jobs would make them a burst.

        Args:
            counts: The number of the last event of each lane.
            now: The time of the monotonic clock.
        """
        new = {lane: number - self._counts.get(lane, number) for lane, number in counts.items()}
        self._rate = sum(new.values()) / max(WINDOW, now - self._counted_at)
        self._counts, self._counted_at = dict(counts), now
        return [lane for lane, came in new.items() if came] if BUSY <= self._rate < BURST else []

    def should_wait(self, low: Mapping[L, int], due: int, now: float) -> bool:
        """Whether a burst continues, and its events may still wait.

        Args:
            low: The number up to which the events of each lane are acknowledged. Events of a lane that is not in it do
                not wait.
            due: The number of due jobs in the busy lanes.
            now: The time of the monotonic clock.
        """
        if self._rate >= BURST or (self._rate >= BUSY and due >= BACKLOG):
            self._burst_at = now
        if now - self._burst_at > CALM or now - self._read_at > self._patience:
            return False
        return all(lane in low and number - low[lane] <= self._room for lane, number in self._counts.items())


__all__ = ["BACKLOG", "BURST", "BUSY", "CALM", "PATIENCE", "WINDOW", "Pace"]
