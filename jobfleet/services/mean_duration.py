"""The recent mean duration of a queue's runs, computed from increasing counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from jobfleet.clock import monotonic
from jobfleet.operations.queues.info import QueueInfo

WINDOW = 300.0
APART = 10.0


class MeanDuration:
    """Keeps samples of the queues' counters over a window.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._marks: dict[str, deque[tuple[float, int, float]]] = {}

    def mean(self, queue: QueueInfo) -> float | None:
        """Return the mean duration of recent runs in seconds, else of all runs; None if there is none."""
        now = self._clock()
        ended, spent = queue.totals["completed"] + queue.totals["failed"], queue.run_time.total_seconds()
        marks = self._marks.setdefault(queue.name, deque())
        if not marks or now - marks[-1][0] >= APART:
            marks.append((now, ended, spent))
        while len(marks) > 1 and now - marks[0][0] > WINDOW:
            marks.popleft()
        _, before, spent_before = marks[0]
        if ended > before and spent >= spent_before:
            return (spent - spent_before) / (ended - before)
        return spent / ended if ended else None
