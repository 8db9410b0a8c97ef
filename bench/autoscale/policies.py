"""What asks for workers: jobfleet, and two rules on the length of the queue, as KEDA and the HPA apply them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from jobfleet.model.scale import Live, ScaleRule, Step, decide

STABILIZATION = 300.0
"""Seconds over which the HPA takes the largest recommendation before it removes pods; its default."""


class Asked(NamedTuple):
    """What a policy sees.

    Attributes:
        at: The time in seconds.
        steps: The samples so far.
        live: The present state; its workers are those that claim already.
        ordered: The workers that were ordered and not removed.
    """

    at: float
    steps: Sequence[Step | None]
    live: Live
    ordered: int


class Policy(Protocol):
    """Computes the number of workers.

    Attributes:
        is_by_name: Whether it names the workers to remove; otherwise the newest go first, as in a ReplicaSet.
    """

    is_by_name: bool

    def workers(self, asked: Asked) -> int:
        """Return the number of workers."""


class Jobfleet:
    """The number that ``GET /scale/<queue>`` answers."""

    is_by_name = True

    def __init__(self, rule: ScaleRule) -> None:
        self._rule = rule

    def workers(self, asked: Asked) -> int:
        """Return the number of workers."""
        return decide(self._rule, asked.steps, asked.live).workers


class Length:
    """One worker per so many jobs, and none is removed while the last five minutes asked for it.

    Args:
        jobs: Jobs per worker.
        most: The largest number of workers.
        counts_running: Whether running jobs count, too.
    """

    is_by_name = False

    def __init__(self, jobs: float, most: int, *, counts_running: bool) -> None:
        self._jobs, self._most, self._counts_running = jobs, most, counts_running
        self._past: deque[tuple[float, int]] = deque()

    def workers(self, asked: Asked) -> int:
        """Return the number of workers."""
        length = asked.live.waiting + (asked.live.running if self._counts_running else 0)
        wanted = min(self._most, math.ceil(length / self._jobs))
        self._past.append((asked.at, wanted))
        while self._past[0][0] <= asked.at - STABILIZATION:
            self._past.popleft()
        peak = max(number for _, number in self._past)
        return wanted if wanted >= asked.ordered else min(peak, asked.ordered)
