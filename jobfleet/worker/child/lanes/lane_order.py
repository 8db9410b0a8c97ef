"""The order in which a child serves its queues, and the priorities of one lane.

Weighted shares use one virtual clock per participant. A job advances the clock of its participant by 1 ÷ weight, and
the participant with the lowest clock comes first. A participant that was idle starts at the current time of the others.
So it gets no jobs in advance, and no participant starves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from jobfleet.store.keys import Lane
from jobfleet.store.records import Grant

K = TypeVar("K")
WEIGHTS = {0: 8, 1: 4, 2: 2, 3: 1}
"""The weights of CRITICAL, HIGH, NORMAL and LOW."""


class Shares(Generic[K]):
    """Orders participants so that each gets a share by its weight.

    Args:
        weights: The participants with their weights. Among equals the first one comes first.
    """

    def __init__(self, weights: Mapping[K, int]) -> None:
        self._weights = weights
        self._clocks = dict.fromkeys(weights, 0.0)
        self._now = 0.0

    def order(self) -> list[K]:
        """All participants, the one with the lowest clock first."""
        return sorted(self._clocks, key=self._clocks.__getitem__)

    def took(self, participant: K, jobs: int) -> None:
        """Count the jobs that a participant got at once."""
        self._now = max(self._now, self._clocks[participant])
        self._clocks[participant] = self._now + jobs / self._weights[participant]


class Queues:
    """The lanes that a child serves, in order: the queues as given, and the lanes of each queue alternately."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []

    def serve(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Serve these lanes from now on. Returns the new ones. If there are none, the order does not change."""
        new = [lane for lane in lanes if lane not in self.lanes]
        if new or len(lanes) < len(self.lanes):
            self.lanes = list(lanes)
        return new

    def first(self, among: Collection[Lane]) -> Lane | None:
        """The first of the given lanes in the serving order."""
        return next((lane for lane in self.lanes if lane in among), None)

    def took(self, lane: Lane, jobs: int) -> None:
        """Count a claim. The lane moves behind the other lanes of its queue, so that all of them are served."""
        del jobs
        places = [place for place, other in enumerate(self.lanes) if other.queue == lane.queue]
        if len(places) > 1 and lane in self.lanes:
            self.lanes.remove(lane)
            self.lanes.insert(places[-1], lane)


class RoundRobinQueues(Queues):
    """Serves the queues alternately, one claim per queue."""

    def took(self, lane: Lane, jobs: int) -> None:
        """Count a claim. Its queue becomes the last one."""
        super().took(lane, jobs)
        self.lanes.sort(key=lambda other: other.queue == lane.queue)


class WeightedQueues(Queues):
    """Gives each queue a share of the jobs.

    Args:
        weights: The weights of queues; 1 for a queue that is not named.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        super().__init__()
        self._weights = weights
        self._shares: Shares[str] = Shares({})

    def serve(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Serve these lanes from now on. Returns the new ones."""
        new = super().serve(lanes)
        if new:
            self._shares = Shares({lane.queue: self._weights.get(lane.queue, 1) for lane in lanes})
        return new

    def first(self, among: Collection[Lane]) -> Lane | None:
        """The first of the given lanes in the serving order."""
        for queue in self._shares.order():
            for lane in self.lanes:
                if lane.queue == queue and lane in among:
                    return lane
        return None

    def took(self, lane: Lane, jobs: int) -> None:
        """Count the jobs of a claim."""
        super().took(lane, jobs)
        if jobs:
            self._shares.took(lane.queue, jobs)


class Priorities:
    """Gives the priorities of each lane a share of the jobs."""

    def __init__(self) -> None:
        self._shares: dict[Lane, Shares[int]] = {}

    def order(self, lane: Lane) -> str:
        """The order in which a claim visits the priorities, one digit each."""
        shares = self._shares.get(lane)
        if shares is None:
            shares = self._shares[lane] = Shares(WEIGHTS)
        return "".join(map(str, shares.order()))

    def took(self, lane: Lane, grants: Iterable[Grant]) -> None:
        """Count the jobs of a claim."""
        for band, jobs in Counter(grant.band for grant in grants).items():
            self._shares[lane].took(band, jobs)


def queues_of(order: str, weights: Mapping[str, int]) -> Queues:
    """The implementation of an order: ordered, weighted or round-robin."""
    if order == "weighted":
        return WeightedQueues(weights)
    return RoundRobinQueues() if order == "round-robin" else Queues()
