"""How many workers a queue needs, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Scale:
    """The number of workers that a queue needs at one moment.

    Attributes:
        queue: The name of the queue.
        workers: How many workers it should have.
        current: How many workers serve it and claim jobs.
        reason: Why, in words.
        remove: The ids of the workers to remove, the first one first; empty unless there are too many.
        waiting: Jobs that are due.
        running: Running jobs.
        slots: Jobs that one worker of the queue runs at once.
        arrival_rate: Jobs that become due per second; the larger mean of the last minute and of the last five.
        mean_duration: The recent mean time of a run; None if no job has run yet.
        backlog: How long the present workers take for the jobs that are due; None if that is not known.
    """

    queue: str
    workers: int
    current: int
    reason: str
    remove: tuple[str, ...]
    waiting: int
    running: int
    slots: int
    arrival_rate: float
    mean_duration: timedelta | None
    backlog: timedelta | None
