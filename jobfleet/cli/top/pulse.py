"""Samples of a fleet for `jobfleet top`: queues with rates, workers, newest failures. Bounded reads only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.clock import monotonic
from jobfleet.model import JobResult

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.queues.info import QueueInfo
    from jobfleet.operations.workers.info import WorkerInfo

WINDOW_S = 5.0
"""Window of the rates in seconds; if two samples are further apart, the rates are those between them."""

FAILURES = 20
"""Most dead letters to read per queue, newest first."""

_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Moving:
    """A queue and its rates.

    Attributes:
        queue: The queue.
        completed: Completed jobs per second; None until there are two samples.
        failed: Permanently failed jobs per second; None until there are two samples.
    """

    queue: QueueInfo
    completed: float | None = None
    failed: float | None = None

    @property
    def is_busy(self) -> bool:
        """Whether jobs wait or run in the queue."""
        one = self.queue
        return bool(one.queued or one.running or one.scheduled or one.retrying or one.blocked)


@dataclass(frozen=True, slots=True)
class Look:
    """A sample of a fleet.

    Attributes:
        at: Time of the sample.
        queues: The queues by name; those with open jobs come first.
        workers: The workers by id; those that are alive come first.
        failures: The newest dead letters, newest first.
    """

    at: datetime
    queues: tuple[Moving, ...]
    workers: tuple[WorkerInfo, ...]
    failures: tuple[JobResult[Any], ...]


class _Count(NamedTuple):
    """Totals of each queue at a time of the monotonic clock."""

    at: float
    totals: Mapping[str, Mapping[str, int]]


class Pulse:
    """Takes samples of a fleet, and keeps the past samples that rates need.

    Args:
        fleet: The fleet.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._past: deque[_Count] = deque()
        self._letters: dict[str, tuple[tuple[int, ...], list[JobResult[Any]]]] = {}

    def look(self) -> Look:
        """Take a sample.

        Raises:
            StoreUnavailable: Redis is unreachable; past samples are kept.
        """
        queues, workers = self._fleet.queues(), self._fleet.workers()
        failures = self._failures(queues)
        moving = self._moving(_Count(monotonic(), {queue.name: queue.totals for queue in queues}), queues)
        return Look(
            datetime.now(UTC),
            tuple(sorted(moving, key=lambda one: (not one.is_busy, one.queue.name))),
            tuple(sorted(workers, key=lambda one: (one.is_gone, one.id))),
            tuple(failures),
        )

    def _moving(self, now: _Count, queues: Iterable[QueueInfo]) -> list[Moving]:
        past = self._past
        while len(past) > 1 and now.at - past[1].at >= WINDOW_S:
            past.popleft()
        before = past[0] if past else now
        past.append(now)
        return [
            Moving(queue, rate(before, now, queue.name, "completed"), rate(before, now, queue.name, "failed"))
            for queue in queues
        ]

    def _failures(self, queues: Iterable[QueueInfo]) -> list[JobResult[Any]]:
        """The newest dead letters. Those of a queue are read again only after its counts have changed."""
        kept = {}
        for queue in queues:
            counts = (queue.dead, queue.totals.get("failed", 0), queue.totals.get("replayed", 0))
            known = self._letters.get(queue.name)
            if known is None or known[0] != counts:
                known = (counts, self._fleet.dead(queue.name, limit=FAILURES) if queue.dead else [])
            kept[queue.name] = known
        self._letters = kept
        every = [letter for _, letters in kept.values() for letter in letters]
        return sorted(every, key=lambda one: one.completed_at or _LONG_AGO, reverse=True)[:FAILURES]


def rate(before: _Count, now: _Count, queue: str, what: str) -> float | None:
    """The rate of a total between two samples, per second; None if the queue is not in both."""
    if queue not in before.totals or now.at <= before.at:
        return None
    grown = now.totals[queue].get(what, 0) - before.totals[queue].get(what, 0)
    return max(0, grown) / (now.at - before.at)  # totals shrink if Redis loses its data
