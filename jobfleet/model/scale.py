"""The number of workers that a queue needs, computed from its samples, and why. Pure: no I/O, and no clock.

The demand is counted in slots. Jobs that arrive keep ``rate x duration`` slots busy; with `TARGET_BUSY`, some slots
stay free for jobs that arrive in bunches. Of long jobs, those that run now count more than those that will arrive.
Jobs that are due get so many further slots that the last of them starts within the wait of the rule.

More workers are asked for at once. Fewer are asked for only if the largest demand within the hold of the rule was
smaller. That demand is computed again from the samples each time. Nothing is remembered between two answers, so all
reapers and dashboards of a fleet answer the same, also after a restart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple


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


STEP_S = 10
"""Seconds between two samples."""
RECENT, LONG = 6, 30
"""Steps of the short and of the long window for rates and durations."""
ENOUGH = 10
"""Jobs in the short window from which its rate and its mean duration count."""
TARGET_BUSY = 0.8
"""The share of the slots that arriving jobs may keep busy."""
AHEAD = 60.0
"""Seconds for which the demand looks ahead, and for which workers that were asked for may still start."""
STUCK = 3
"""Steps after which jobs that wait beside free slots count as held back."""
BACKLOG_SHARE = 3
"""Workers for jobs that were due are kept for this part of the hold, those for jobs that arrive for all of it."""
UNKNOWN_DURATION = 1.0
"""Seconds that a run is assumed to take before any has ended."""


class ScaleRule(NamedTuple):
    """What a queue wants.

    Attributes:
        least: The smallest number of workers.
        most: The largest number of workers.
        wait: Seconds within which jobs that are due should start once the workers are there.
        hold: Seconds for which workers are kept after the demand was larger.
    """

    least: int = 0
    most: int = 100
    wait: float = 15.0
    hold: float = 300.0


class Step(NamedTuple):
    """What was sampled in one step of `STEP_S` seconds.

    Attributes:
        ended: Runs that ended: completed, failed or retried.
        waiting: Jobs that were due at its end.
        running: Jobs that ran at its end.
        runs: Runs whose time was reported.
        spent: The sum of their times in seconds.
    """

    ended: int = 0
    waiting: int = 0
    running: int = 0
    runs: int = 0
    spent: float = 0.0


class Live(NamedTuple):
    """The present state of a queue.

    Attributes:
        waiting: Jobs that are due.
        running: Jobs that run.
        current: Workers that serve the queue and claim jobs; those that start now are not known.
        slots: Slots per worker, at least 1.
        free: Slots of the workers that no job uses.
        is_paused: Whether the queue is paused.
        duration: The mean time of all runs so far in seconds; None if none has ended.
    """

    waiting: int = 0
    running: int = 0
    current: int = 0
    slots: float = 1.0
    free: int = 0
    is_paused: bool = False
    duration: float | None = None


class Demand(NamedTuple):
    """The slots that a queue needs.

    Attributes:
        busy: Slots for the jobs that arrive, or that run: what follows from the rate, at least `average`.
        backlog: Further slots for the jobs that are due.
        rate: Jobs that become due per second.
        duration: The mean time of a run in seconds.
        arriving: Slots for the jobs that arrive: ``rate x duration / TARGET_BUSY``.
        remaining: The share of the running jobs that still run after `AHEAD` seconds.
        average: The mean number of running jobs in the short window.
        is_assumed: Whether no run has ended yet, so that `duration` is not measured.
    """

    busy: float
    backlog: float
    rate: float
    duration: float
    arriving: float = 0.0
    remaining: float = 0.0
    average: float = 0.0
    is_assumed: bool = False

    @property
    def slots(self) -> float:
        """All slots."""
        return self.busy + self.backlog


class Decision(NamedTuple):
    """The number of workers that a queue needs.

    Attributes:
        workers: The number.
        wanted: The number for the present demand, before workers are kept.
        demand: The present demand.
        is_held_back: Whether jobs wait beside free slots, so that more workers would not help.
        why: Why the number differs from what is wanted: ``kept``, ``unknown`` or empty.
    """

    workers: int
    wanted: int
    demand: Demand
    is_held_back: bool
    why: str


Steps = Sequence[Step | None]
"""Samples, the oldest first; None for a step in which no sample was taken."""


def decide(rule: ScaleRule, steps: Steps, live: Live) -> Decision:
    """Compute the number of workers.

    Args:
        rule: What the queue wants.
        steps: The samples of at least the hold and of the long window before it.
        live: The present state.
    """
    held_back = _is_held_back(steps, live)
    may_start = not held_back and not live.is_paused
    demand = demand_of(rule, steps, live.waiting if may_start else 0, live.running, live.duration)
    if live.is_paused:
        demand = demand._replace(busy=float(live.running))
    wanted = _workers(rule, demand, live.slots)
    held = max(1, round(rule.hold / STEP_S))
    begin = max(0, len(steps) - held)
    past = {
        end: _past_workers(rule, steps, end, live, may_start=may_start)
        for end in range(begin if rule.hold > 0 else len(steps), len(steps))
        if steps[end] is not None
    }
    if wanted < live.current and rule.hold > 0 and len(past) < held / 2:
        kept = max(rule.least, min(live.current, rule.most))
        return Decision(kept, wanted, demand, held_back, "unknown" if kept > wanted else "")
    pending = [number for end, number in past.items() if may_start and (len(steps) - end) * STEP_S <= AHEAD]
    ordered = max(pending, default=0)
    kept = max(wanted, min(max(past.values(), default=0), max(live.current, ordered)))
    return Decision(kept, wanted, demand, held_back, "kept" if kept > wanted else "")


def demand_of(rule: ScaleRule, steps: Steps, waiting: int, running: int, duration: float | None) -> Demand:
    """Compute the demand at the end of some samples.

    Args:
        rule: What the queue wants.
        steps: The samples up to that moment.
        waiting: Jobs that are due at that moment.
        running: Jobs that run at that moment.
        duration: The mean time of all runs so far in seconds; None if none has ended.
    """
    rate = max(_rate(steps, RECENT), _rate(steps, LONG))
    measured = _duration(steps, duration)
    took = UNKNOWN_DURATION if measured is None else measured
    seen = [step.running for step in steps[-RECENT:] if step is not None]
    average = sum(seen) / len(seen) if seen else float(running)
    remaining = math.exp(-AHEAD / took) if took > 0 else 0.0
    arriving = rate * took / TARGET_BUSY
    return Demand(
        busy=max(running * remaining + arriving * (1 - remaining), average),
        backlog=waiting * min(1.0, took / max(rule.wait, 0.001)),
        rate=rate,
        duration=took,
        arriving=arriving,
        remaining=remaining,
        average=average,
        is_assumed=measured is None,
    )


def _past_workers(rule: ScaleRule, steps: Steps, end: int, live: Live, *, may_start: bool) -> int:
    """The workers that were wanted at the end of a step."""
    step = steps[end]
    assert step is not None  # noqa: S101 - the caller has left out those
    before = steps[max(0, end - LONG) : end + 1]
    is_old = (len(steps) - end) * STEP_S * BACKLOG_SHARE > rule.hold
    waiting = step.waiting if may_start and not is_old else 0
    return _workers(rule, demand_of(rule, before, waiting, step.running, live.duration), live.slots)


def _workers(rule: ScaleRule, demand: Demand, slots: float) -> int:
    needed = math.ceil(demand.slots / max(1.0, slots) - 1e-9)
    return max(rule.least, min(needed, rule.most))


def _is_held_back(steps: Steps, live: Live) -> bool:
    """Whether jobs wait beside free slots: for a limit, a rate, or a worker with their function."""
    last = [step for step in steps[-STUCK:] if step is not None]
    capacity = live.current * live.slots
    return len(last) == STUCK and all(step.waiting for step in last) and live.free >= max(1.0, capacity / 2)


def _rate(steps: Steps, length: int) -> float:
    """Jobs that became due per second: what ended, and what is due or runs more than at the beginning."""
    sampled = [step for step in steps[-length - 1 :] if step is not None]
    if len(sampled) < 2:
        return 0.0
    first, last = sampled[0], sampled[-1]
    ended = sum(step.ended for step in sampled[1:])
    grown = last.waiting + last.running - first.waiting - first.running
    count = max(0, ended + grown)
    return count / (STEP_S * (len(sampled) - 1)) if length == LONG or count >= ENOUGH else 0.0


def _duration(steps: Steps, duration: float | None) -> float | None:
    """The mean time of recent runs, else of all, in seconds; None if none has ended."""
    for length, enough in ((RECENT, ENOUGH), (LONG, 1)):
        sampled = [step for step in steps[-length:] if step is not None]
        runs = sum(step.runs for step in sampled)
        if runs >= enough:
            return sum(step.spent for step in sampled) / runs
    return duration
