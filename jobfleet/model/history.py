"""The past of a fleet, of a queue or of a function: what was counted in each step of time, and what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Durations below which half, 95 % and 99 % of all lie; exact to about a quarter.

    Attributes:
        p50: The median.
        p95: Exceeded by one in twenty.
        p99: Exceeded by one in a hundred.
    """

    p50: timedelta
    p95: timedelta
    p99: timedelta


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """One step of a history. Without a sample in this step, all is None; 0 means that nothing happened.

    Attributes:
        at: The beginning of the step.
        enqueued: Jobs enqueued in the step; None for a function.
        started: Runs started, as far as workers have reported.
        completed: Jobs completed.
        failed: Jobs failed, which became dead letters.
        retried: Runs that failed and are followed by another one.
        cancelled: Jobs cancelled; for a function only those that ran.
        expired: Jobs expired; None for a function.
        waiting: Jobs that were due at the end of the step; None for a function, as the following ones.
        scheduled: Jobs that were due later.
        blocked: Jobs that waited for other jobs.
        running: Jobs that ran.
        dead: Dead letters.
        oldest_wait: How long the oldest due job had waited; the maximum in the step.
        wait: Time from due to started of the runs that ended; None if none did.
        run: Run time of the runs that ended; None if none did.
    """

    at: datetime
    enqueued: int | None = None
    started: int | None = None
    completed: int | None = None
    failed: int | None = None
    retried: int | None = None
    cancelled: int | None = None
    expired: int | None = None
    waiting: int | None = None
    scheduled: int | None = None
    blocked: int | None = None
    running: int | None = None
    dead: int | None = None
    oldest_wait: timedelta | None = None
    wait: Percentiles | None = None
    run: Percentiles | None = None


@dataclass(frozen=True, slots=True)
class Deploy:
    """A version of workers that was seen for the first time.

    Attributes:
        at: When it was seen.
        version: The setting `version_label` of the worker, or its version of jobfleet.
    """

    at: datetime
    version: str


@dataclass(frozen=True, slots=True)
class History:
    """The past of a fleet, of a queue or of a function.

    Attributes:
        queue: The queue; None for all.
        function: The function; None for all.
        since: The beginning of the first step.
        until: The end of the last sample. The last step may not be over.
        step: The duration of a step.
        points: One point per step, the oldest first.
        deploys: The versions that were new in this time, the oldest first.
        wait: Time from due to started of all runs that ended in this time; None if none did.
        run: Run time of all runs that ended in this time; None if none did.
    """

    queue: str | None
    function: str | None
    since: datetime
    until: datetime
    step: timedelta
    points: Sequence[HistoryPoint]
    deploys: Sequence[Deploy] = ()
    wait: Percentiles | None = None
    run: Percentiles | None = None

    def total(self, name: str) -> int | None:
        """Return the sum of a count over all steps, such as ``total("completed")``; None without any sample."""
        values = [value for point in self.points if (value := getattr(point, name)) is not None]
        return sum(values) if values else None


@dataclass(frozen=True, slots=True)
class QueueTrend:
    """How many jobs of a queue ended, and how many waited, in each step of the last hour.

    Attributes:
        queue: The name of the queue.
        since: The beginning of the first step.
        step: The duration of a step.
        ended: Jobs completed and failed in each step, the oldest first; None without a sample.
        waiting: Jobs that were due at the end of each step; None without a sample.
    """

    queue: str
    since: datetime
    step: timedelta
    ended: Sequence[int | None]
    waiting: Sequence[int | None]


@dataclass(frozen=True, slots=True)
class FunctionTimes:
    """What a function did in a time, and how long it took.

    Attributes:
        function: The registered name.
        started: Runs started, as far as workers have reported.
        completed: Jobs completed.
        failed: Jobs failed, which became dead letters.
        retried: Runs that failed and are followed by another one.
        wait: Time from due to started of the runs that ended; None if none did.
        run: Run time of the runs that ended; None if none did.
    """

    function: str
    started: int
    completed: int
    failed: int
    retried: int
    wait: Percentiles | None = None
    run: Percentiles | None = None
