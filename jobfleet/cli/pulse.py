"""A fleet at a glance, again and again: what stands where, and how fast it moves. Bounded reads only."""

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
"""Rates are those of the last seconds: of so many, or of the time since the look before if that is longer."""

FAILURES = 20
"""So many of the newest failures are looked at, of each queue."""

_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Moving:
    """A queue, and how fast it moves.

    Attributes:
        queue: The queue.
        completed: Completions a second; None while that is not known.
        failed: Failures for good a second, likewise.
    """

    queue: QueueInfo
    completed: float | None = None
    failed: float | None = None

    @property
    def is_busy(self) -> bool:
        """Whether jobs wait or run there."""
        one = self.queue
        return bool(one.queued or one.running or one.scheduled or one.retrying or one.blocked)


@dataclass(frozen=True, slots=True)
class Look:
    """A fleet at one moment.

    Attributes:
        at: When.
        queues: Those with jobs first, by name.
        workers: Those that are alive first, by id.
        failures: The newest dead letters, the newest first.
    """

    at: datetime
    queues: tuple[Moving, ...]
    workers: tuple[WorkerInfo, ...]
    failures: tuple[JobResult[Any], ...]


class _Count(NamedTuple):
    """What had happened in each queue at a moment of the monotonic clock."""

    at: float
    totals: Mapping[str, Mapping[str, int]]


class Pulse:
    """Looks at a fleet, and remembers as much as rates need.

    Args:
        fleet: Which.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._past: deque[_Count] = deque()
        self._letters: dict[str, tuple[tuple[int, ...], list[JobResult[Any]]]] = {}

    def look(self) -> Look:
        """Take a look.

        Raises:
            StoreUnavailable: Redis is away; what is remembered stays.
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
        """The newest letters; a queue's are read again only once something has changed there."""
        kept = {}
        for queue in queues:
            stand = (queue.dead, queue.totals.get("failed", 0), queue.totals.get("replayed", 0))
            known = self._letters.get(queue.name)
            if known is None or known[0] != stand:
                known = (stand, self._fleet.dead(queue.name, limit=FAILURES) if queue.dead else [])
            kept[queue.name] = known
        self._letters = kept
        every = [letter for _, letters in kept.values() for letter in letters]
        return sorted(every, key=lambda one: one.completed_at or _LONG_AGO, reverse=True)[:FAILURES]


def rate(before: _Count, now: _Count, queue: str, what: str) -> float | None:
    """How often something happened in a queue, a second; None where nothing is known to compare with."""
    if queue not in before.totals or now.at <= before.at:
        return None
    grown = now.totals[queue].get(what, 0) - before.totals[queue].get(what, 0)
    return max(0, grown) / (now.at - before.at)  # it shrinks when Redis has lost its data
