"""Whose turn it is: among queues, and among the priorities of one lane.

A share by weight is kept with a clock for each that takes part: it goes on by 1 ÷ weight a job, and
who is furthest behind comes first. One that had nothing to do for a while begins where the others
are by then, so it makes up for nothing, and nothing starves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from jobfleet.store.keys import Lane
from jobfleet.store.records import Grant

K = TypeVar("K")
WEIGHTS = {0: 8, 1: 4, 2: 2, 3: 1}
"""Of CRITICAL, HIGH, NORMAL and LOW."""


class Shares(Generic[K]):
    """Deals out turns so that each has a share by its weight.

    Args:
        weights: Who takes part, and with what weight; among equals the first is first.
    """

    def __init__(self, weights: Mapping[K, int]) -> None:
        self._weights = weights
        self._clocks = dict.fromkeys(weights, 0.0)
        self._now = 0.0

    def order(self) -> list[K]:
        """All, the one who is furthest behind first."""
        return sorted(self._clocks, key=self._clocks.__getitem__)

    def took(self, who: K, jobs: int) -> None:
        """Count jobs that one of them was given, all at once: they begin where it was, not where the last one ends."""
        self._now = max(self._now, self._clocks[who])
        self._clocks[who] = self._now + jobs / self._weights[who]


class Queues:
    """The lanes that a child serves, and in which order: the first queue first, its lanes by turns."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []

    def serve(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Serve these from now on; answer those that are new. Without any, whose turn it is stands."""
        new = [lane for lane in lanes if lane not in self.lanes]
        if new or len(lanes) < len(self.lanes):
            self.lanes = list(lanes)
        return new

    def first(self, among: Collection[Lane]) -> Lane | None:
        """The lane to claim from, of some."""
        return next((lane for lane in self.lanes if lane in among), None)

    def took(self, lane: Lane, jobs: int) -> None:
        """Count a claim, and what it has brought: none of a queue's lanes must wait for another to be empty."""
        del jobs
        places = [place for place, other in enumerate(self.lanes) if other.queue == lane.queue]
        if len(places) > 1 and lane in self.lanes:
            self.lanes.remove(lane)
            self.lanes.insert(places[-1], lane)


class RoundRobinQueues(Queues):
    """Queues by turns, a claim each."""

    def took(self, lane: Lane, jobs: int) -> None:
        """Count a claim: its queue is the last one now."""
        super().took(lane, jobs)
        self.lanes.sort(key=lambda other: other.queue == lane.queue)


class WeightedQueues(Queues):
    """Queues with shares of the jobs.

    Args:
        weights: Of queues; 1 for those that are not named.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        super().__init__()
        self._weights = weights
        self._shares: Shares[str] = Shares({})

    def serve(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Serve these from now on; answer those that are new."""
        new = super().serve(lanes)
        if new:
            self._shares = Shares({lane.queue: self._weights.get(lane.queue, 1) for lane in lanes})
        return new

    def first(self, among: Collection[Lane]) -> Lane | None:
        """The lane to claim from, of some."""
        for queue in self._shares.order():
            for lane in self.lanes:
                if lane.queue == queue and lane in among:
                    return lane
        return None

    def took(self, lane: Lane, jobs: int) -> None:
        """Count a claim, and what it has brought."""
        super().took(lane, jobs)
        if jobs:
            self._shares.took(lane.queue, jobs)


class Priorities:
    """Shares of the jobs for the priorities of each lane."""

    def __init__(self) -> None:
        self._shares: dict[Lane, Shares[int]] = {}

    def order(self, lane: Lane) -> str:
        """In which order a claim is to visit the priorities, a digit each."""
        shares = self._shares.get(lane)
        if shares is None:
            shares = self._shares[lane] = Shares(WEIGHTS)
        return "".join(map(str, shares.order()))

    def took(self, lane: Lane, grants: Iterable[Grant]) -> None:
        """Count what a claim has brought, in the order in which it was found."""
        for band, jobs in Counter(grant.band for grant in grants).items():
            self._shares[lane].took(band, jobs)


def queues_of(order: str, weights: Mapping[str, int]) -> Queues:
    """What keeps that order: ordered, weighted or round-robin."""
    if order == "weighted":
        return WeightedQueues(weights)
    return RoundRobinQueues() if order == "round-robin" else Queues()
