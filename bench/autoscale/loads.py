"""Loads: jobs with their due times and durations, synthetic or recorded. Each seed gives another one."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

HOUR = 3600.0
RETRY_AFTER = (10.0, 20.0, 40.0)
"""Seconds before each retry of a job that fails."""


class Arrival(NamedTuple):
    """A job.

    Attributes:
        due: When it becomes due, in seconds.
        duration: The time of its run in seconds.
        retries: How often it fails before its last run.
    """

    due: float
    duration: float
    retries: int = 0


Load = Callable[[random.Random], list[Arrival]]


def _arrivals(chance: random.Random, rate: Callable[[float], float], most: float) -> Iterator[float]:
    """Times of a Poisson process with a changing rate, by thinning."""
    at = 0.0
    while (at := at + chance.expovariate(most)) < HOUR:
        if chance.random() * most < rate(at):
            yield at


def _about(chance: random.Random, mean: float) -> float:
    """A duration with this mean; one in twenty takes three times as long or more."""
    return chance.lognormvariate(math.log(mean) - 0.32, 0.8)


def burst(chance: random.Random) -> list[Arrival]:
    """A job of 2 s every two seconds, and three times 600 jobs within 20 seconds."""
    dues = list(_arrivals(chance, lambda _: 0.5, 0.5))
    for third in range(3):
        begin = chance.uniform(third * 1200 + 60, third * 1200 + 900)
        dues += [begin + chance.uniform(0, 20) for _ in range(600)]
    return [Arrival(due, _about(chance, 2.0)) for due in sorted(dues)]


def wave(chance: random.Random) -> list[Arrival]:
    """A day in an hour: from one job per minute to 8 per second, and back; 2 s each."""
    noon = chance.uniform(0.35, 0.65) * HOUR

    def rate(at: float) -> float:
        return max(1 / 60, 8 * math.exp(-(((at - noon) / 700) ** 2)))

    return [Arrival(due, _about(chance, 2.0)) for due in _arrivals(chance, rate, 8.0)]


def poison(chance: random.Random) -> list[Arrival]:
    """2 jobs of 2 s per second; for ten minutes one in ten takes its time limit of 30 s, four times."""
    begin = chance.uniform(600, 2400)
    return [
        Arrival(due, 30.0, 3)
        if begin <= due < begin + 600 and chance.random() < 0.1
        else Arrival(due, _about(chance, 2.0))
        for due in _arrivals(chance, lambda _: 2.0, 2.0)
    ]


def slow(chance: random.Random) -> list[Arrival]:
    """3 jobs of 1 s per second; for 15 minutes a dependency is slow, and they take 10 s."""
    begin = chance.uniform(600, 2100)
    return [
        Arrival(due, _about(chance, 10.0 if begin <= due < begin + 900 else 1.0))
        for due in _arrivals(chance, lambda _: 3.0, 3.0)
    ]


def long(chance: random.Random) -> list[Arrival]:
    """A job of five minutes every 40 seconds, so that almost none waits and many run."""
    return [Arrival(due, min(1200.0, _about(chance, 300.0))) for due in _arrivals(chance, lambda _: 1 / 40, 1 / 40)]


def recorded(path: Path) -> Load:
    """A load like that of a fleet, as ``jobfleet stats --step 10s -o json`` has printed it.

    As many jobs become due in each step as were enqueued then. Their durations have the recorded median and 95 %.
    """
    found: dict[str, Any] = json.loads(path.read_text())
    points = found["points"]
    begin = datetime.fromisoformat(points[0]["at"])
    rows = []
    for point in points:
        spread = point["run"] or found["run"] or {"p50": 1.0, "p95": 1.0}
        middle = max(0.000_1, spread["p50"])
        width = max(0.0, math.log(max(spread["p95"], middle) / middle)) / 1.645
        at = (datetime.fromisoformat(point["at"]) - begin).total_seconds()
        rows.append((at, point["enqueued"] or 0, math.log(middle), width))

    def load(chance: random.Random) -> list[Arrival]:
        return sorted(
            Arrival(at + chance.uniform(0, found["step"]), chance.lognormvariate(middle, width))
            for at, count, middle, width in rows
            for _ in range(count)
        )

    return load


LOADS: dict[str, Load] = {"burst": burst, "wave": wave, "poison": poison, "slow": slow, "long": long}
