"""How far the claims of a child have come that leave jobs to others.

A claim looks at a bounded number of jobs. Where all of them are left, the next claim goes on behind them, until one has
come to the end. From then on claims look only at what is behind the jobs that were passed over, and now and then a
child begins anew: jobs of its own may have been put back among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jobfleet.clock import boottime
from jobfleet.store.keys import Lane

LEAST = 1.0
A_SECOND = 1000
"""A pass that left so many jobs is repeated after a second, one that left more after a longer time in proportion."""


class Pass(NamedTuple):
    """One pass over a lane.

    Attributes:
        text: How far it came.
        since: When it began.
        passed: How many jobs it has left so far.
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
        clock: Answers the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._passes: dict[Lane, Pass] = {}

    def text(self, lane: Lane) -> str:
        """From where the next claim goes on; empty for the beginning."""
        past = self._passes.get(lane)
        if past is not None and self._clock() >= past.ends:
            del self._passes[lane]
            past = None
        return past.text if past is not None else ""

    def went(self, lane: Lane, told: str) -> bool:
        """Note how far a claim came; whether the next one is to go on at once."""
        is_short, passed, *parts = told.split(" ")
        past = self._passes.get(lane)
        if not parts:
            self._passes.pop(lane, None)
        else:
            since, before = (past.since, past.passed) if past is not None else (self._clock(), 0)
            self._passes[lane] = Pass(" ".join(parts), since, before + int(passed))
        return is_short == "1" and bool(parts)

    def again_in(self, lane: Lane) -> float | None:
        """In how many seconds to look through the lane from the beginning; None where every claim does."""
        past = self._passes.get(lane)
        return max(0.0, past.ends - self._clock()) if past is not None else None

    def forget(self) -> None:
        """Begin anew everywhere."""
        self._passes.clear()
