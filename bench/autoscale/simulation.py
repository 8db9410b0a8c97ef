"""Discrete events: jobs, workers that start slowly and drain, samples every ten seconds, and an autoscaler that polls.

Nothing sleeps, and no clock is read. One hour of a load takes a part of a second.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from bench.autoscale.loads import HOUR, RETRY_AFTER, Arrival
from bench.autoscale.policies import Asked, Policy
from jobfleet.model.scale import STEP_S, Live, Step

POLL = 15.0
"""Seconds between two looks of the autoscaler; the HPA's default."""
START = (15.0, 30.0)
"""Seconds from the order for a worker until it claims."""
GRACE = 25.0
"""Seconds that a removed worker gives its running jobs. What is not done then runs again elsewhere."""
UNTIL = 2 * HOUR
"""When a run ends although jobs are left, because each start of them is cut off."""
AGAIN = 600.0
"""A worker that is ordered within so many seconds after one was removed is a flap."""


class Figures(NamedTuple):
    """What a run has cost.

    Attributes:
        jobs: Jobs of the load.
        unfinished: Jobs that had not ended an hour after the last one was due.
        late: Jobs whose first run started later than the rule's wait after they were due.
        p95: The time in seconds that 95 % of the jobs waited at most.
        worker_seconds: Seconds of all workers, from the order to the end.
        flaps: Orders for workers within ten minutes after a removal.
        interrupted: Runs that a removal cut off.
    """

    jobs: int
    unfinished: int
    late: int
    p95: float
    worker_seconds: float
    flaps: int
    interrupted: int


@dataclass(slots=True, eq=False)
class _Job:
    due: float
    duration: float
    retries: int
    started: float | None = None


@dataclass(slots=True, eq=False)
class _Worker:
    ordered: float
    slots: int
    is_ready: bool = False
    is_leaving: bool = False
    runs: dict[int, _Job] = field(default_factory=dict)


class Simulation:
    """One run of a load under a policy.

    Args:
        load: The jobs, by due time.
        policy: Asks for workers.
        slots: Slots per worker.
        wait: Seconds after which a job counts as late.
        chance: The random numbers of the start of workers.
    """

    def __init__(
        self, load: Sequence[Arrival], policy: Policy, *, slots: int, wait: float, chance: random.Random
    ) -> None:
        self._policy, self._slots, self._wait, self._chance = policy, slots, wait, chance
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._now = 0.0
        self._jobs = [_Job(*arrival) for arrival in load]
        self._left = len(self._jobs)
        self._queue: deque[_Job] = deque()
        self._workers: list[_Worker] = []
        self._steps: list[Step | None] = [Step()] * 60
        self._ended = self._runs = self._interrupted = self._flaps = 0
        self._spent = self._seconds = 0.0
        self._removed_at = float("-inf")

    def run(self) -> Figures:
        """Run it to the last job, and return the figures."""
        for job in self._jobs:
            self._at(job.due, partial(self._due, job))
        self._at(STEP_S, self._sample)
        self._at(self._chance.uniform(0, POLL), self._poll)
        while self._left and self._now < UNTIL:
            self._now, _, happens = heapq.heappop(self._events)
            happens()
        self._seconds += sum(self._now - worker.ordered for worker in self._workers)
        waits = sorted((job.started or self._now) - job.due for job in self._jobs)
        late = sum(wait > self._wait for wait in waits)
        p95 = waits[int(len(waits) * 0.95)] if waits else 0.0
        return Figures(len(waits), self._left, late, p95, self._seconds, self._flaps, self._interrupted)

    def _at(self, when: float, happens: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, happens))

    def _due(self, job: _Job) -> None:
        self._queue.append(job)
        self._claim()

    def _claim(self) -> None:
        while self._queue:
            free = [one for one in self._workers if one.is_ready and not one.is_leaving and len(one.runs) < one.slots]
            if not free:
                return
            worker = min(free, key=lambda one: len(one.runs))
            job = self._queue.popleft()
            if job.started is None:
                job.started = self._now
            self._number += 1
            run = self._number
            worker.runs[run] = job
            self._at(self._now + job.duration, partial(self._end, worker, run))

    def _end(self, worker: _Worker, run: int) -> None:
        job = worker.runs.pop(run, None)
        if job is None:
            return
        self._ended += 1
        self._runs += 1
        self._spent += job.duration
        if job.retries:
            job.retries -= 1
            self._at(self._now + RETRY_AFTER[-1 - job.retries], partial(self._due, job))
        else:
            self._left -= 1
        if worker.is_leaving and not worker.runs:
            self._gone(worker)
        self._claim()

    def _sample(self) -> None:
        running = sum(len(one.runs) for one in self._workers)
        self._steps.append(Step(self._ended, len(self._queue), running, self._runs, self._spent))
        self._ended = self._runs = 0
        self._spent = 0.0
        self._at(self._now + STEP_S, self._sample)

    def _poll(self) -> None:
        staying = [one for one in self._workers if not one.is_leaving]
        ready = [one for one in staying if one.is_ready]
        live = Live(
            waiting=len(self._queue),
            running=sum(len(one.runs) for one in self._workers),
            current=len(ready),
            slots=self._slots,
            free=sum(one.slots - len(one.runs) for one in ready),
        )
        wanted = self._policy.workers(Asked(self._now, self._steps[-70:], live, len(staying)))
        wanted = min(wanted, max(2 * len(staying), len(staying) + 4))  # as the HPA limits growth
        for _ in range(wanted - len(staying)):
            self._order()
        if wanted < len(staying):
            self._remove(staying, len(staying) - wanted)
        self._at(self._now + POLL, self._poll)

    def _order(self) -> None:
        worker = _Worker(self._now, self._slots)
        self._workers.append(worker)
        self._flaps += self._now - self._removed_at < AGAIN
        self._at(self._now + self._chance.uniform(*START), partial(self._ready, worker))

    def _ready(self, worker: _Worker) -> None:
        worker.is_ready = True
        self._claim()

    def _remove(self, staying: list[_Worker], count: int) -> None:
        self._removed_at = self._now
        if self._policy.is_by_name:
            order = sorted(staying, key=lambda one: (len(one.runs), one.ordered))
        else:
            order = sorted(staying, key=lambda one: -one.ordered)
        for worker in order[:count]:
            worker.is_leaving = True
            if worker.runs:
                self._at(self._now + GRACE, partial(self._cut, worker))
            else:
                self._gone(worker)

    def _cut(self, worker: _Worker) -> None:
        if worker in self._workers:
            cut = list(worker.runs.values())
            worker.runs.clear()
            self._interrupted += len(cut)
            self._gone(worker)
            self._queue.extendleft(cut)
            self._claim()

    def _gone(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._seconds += self._now - worker.ordered
