"""How far claims have read that leave jobs to other workers.

A claim checks a limited number of jobs. If it leaves all of them to others, the next claim starts behind them, until
the end of the lane is reached. From then on claims check only the jobs behind those that were passed over. From time to
time a child starts again at the beginning, because jobs that it can run may have been put back there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from jobfleet.clock import boottime
from jobfleet.store.keys import Lane

LEAST = 1.0
A_SECOND = 1000
"""A pass that left this many jobs is repeated after one second, and longer passes proportionally later."""


class Pass(NamedTuple):
    """One pass over a lane.

    Attributes:
        text: The position that was reached.
        since: When it began.
        passed: The number of jobs that were left so far.
    """

    text: str
    since: float
    passed: int

    @property
    def ends(self) -> float:
        """When the next one may begin."""
        return self.since + max(LEAST, self.passed / A_SECOND)


class Lookahead:
    """The passes of a child.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._passes: dict[Lane, Pass] = {}
        self._heads: set[Lane] = set()

    def text(self, lane: Lane) -> str:
        """The position where the next claim starts; empty for the beginning."""
        if lane in self._heads:
            return ""
        past = self._passes.get(lane)
        if past is not None and self._clock() >= past.ends:
            del self._passes[lane]
            past = None
        return past.text if past is not None else ""

    def went(self, lane: Lane, position: str) -> bool:
        """Record the position that a claim has reached. Returns whether the next claim should follow at once."""
        if lane in self._heads:  # the pass continues where it was
            self._heads.discard(lane)
            return lane in self._passes
        is_short, passed, *parts = position.split(" ")
        past = self._passes.get(lane)
        if not parts:
            self._passes.pop(lane, None)
        else:
            since, before = (past.since, past.passed) if past is not None else (self._clock(), 0)
            self._passes[lane] = Pass(" ".join(parts), since, before + int(passed))
        return is_short == "1" and bool(parts)

    def again_in(self, lane: Lane) -> float | None:
        """The seconds until a claim starts at the beginning again; None if every claim does."""
        past = self._passes.get(lane)
        return max(0.0, past.ends - self._clock()) if past is not None else None

    def look_ahead_of(self, lanes: Iterable[Lane]) -> None:
        """Start at the beginning once in each of these lanes, and then go on with the pass."""
        self._heads.update(lanes)

    def forget(self) -> None:
        """Start at the beginning in every lane."""
        self._passes.clear()
        self._heads.clear()
