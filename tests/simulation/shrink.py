"""Makes a failing plan smaller while it fails in the same way: fewer steps, machines and settings, rounder numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tests.simulation.plan import Plan, Step

ROUND_US = (60_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000)
"""To multiples of what times are rounded, the coarsest first."""
Fails = Callable[[Plan], bool]


class Shrunk(NamedTuple):
    """What came of it.

    Attributes:
        plan: The smallest plan that still fails.
        tries: How many plans were run.
        is_least: Whether no smaller plan fails; False if the time was over.
    """

    plan: Plan
    tries: int
    is_least: bool


class OutOfTimeError(Exception):
    """The time for shrinking is over."""


class Shrinker:
    """Shrinks one plan.

    Args:
        plan: A plan that fails.
        fails: Whether a plan fails in the same way.
        seconds: How long to go on.
    """

    def __init__(self, plan: Plan, fails: Fails, *, seconds: float) -> None:
        self.plan = plan
        self.tries = 0
        self._fails = fails
        self._until = time.monotonic() + seconds
        self._seen: set[str] = {plan.dumped()}

    def shrunk(self) -> Shrunk:
        """Shrink until nothing more can be left out, or the time is over."""
        try:
            while self._fewer_steps() | self._fewer_machines() | self._simpler_steps() | self._rounder_times():
                pass
        except OutOfTimeError:
            return Shrunk(self.plan, self.tries, is_least=False)
        return Shrunk(self.plan, self.tries, is_least=True)

    def _keeps(self, smaller: Plan) -> bool:
        """Take a plan in place of the last one, if it fails too."""
        text = smaller.dumped()
        if text in self._seen:
            return False
        if time.monotonic() > self._until:
            raise OutOfTimeError
        self._seen.add(text)
        self.tries += 1
        if not self._fails(smaller):
            return False
        self.plan = smaller
        return True

    def _fewer_steps(self) -> bool:
        """Leave out steps: halves first, then smaller parts, at last single ones."""
        has_shrunk, size = False, max(1, len(self.plan.steps) // 2)
        while True:
            at = 0
            while at < len(self.plan.steps):
                steps = self.plan.steps
                if self._keeps(self.plan._replace(steps=steps[:at] + steps[at + size :])):
                    has_shrunk = True
                else:
                    at += size
            if size == 1:
                return has_shrunk
            size = max(1, size // 2)

    def _fewer_machines(self) -> bool:
        """Use fewer workers, children and reapers, and the settings of the simulation."""
        has_shrunk = False
        for name, least in (("workers", 1), ("children", 1), ("reapers", 0)):
            for count in range(least, getattr(self.plan, name)):
                fewer: dict[str, Any] = {name: count}
                if self._keeps(self.plan._replace(**fewer)):
                    has_shrunk = True
                    break
        has_shrunk |= self.plan.travel_us > 0 and self._keeps(self.plan._replace(travel_us=0))
        for name in sorted(self.plan.settings):
            if name.startswith("payload_") and name != "payload_store" and "payload_store" in self.plan.settings:
                continue  # the judge expects what `beside.STORE` says of a store
            left = {key: value for key, value in self.plan.settings.items() if key != name}
            has_shrunk |= self._keeps(self.plan._replace(settings=left))
        return has_shrunk

    def _simpler_steps(self) -> bool:
        """Leave out arguments of steps, or make their numbers and lists smaller."""
        has_shrunk = False
        for at in range(len(self.plan.steps)):
            for args in _simpler(self.plan.steps[at].args):
                has_shrunk |= self._keeps(self._with(at, self.plan.steps[at]._replace(args=args)))
        return has_shrunk

    def _rounder_times(self) -> bool:
        """Let the run begin with its first step, end with its last one, and round times."""
        has_shrunk = False
        if self.plan.steps:
            first = min(step.at_us for step in self.plan.steps)
            earlier = tuple(step._replace(at_us=step.at_us - first) for step in self.plan.steps)
            has_shrunk |= self._keeps(self.plan._replace(steps=earlier))
        last = max((step.at_us for step in self.plan.steps), default=0)
        has_shrunk |= last < self.plan.ends_us and self._keeps(self.plan._replace(ends_us=last))
        for at in range(len(self.plan.steps)):
            for unit in ROUND_US:
                step = self.plan.steps[at]
                rounded = step.at_us - step.at_us % unit
                if rounded == step.at_us:
                    break
                if self._keeps(self._with(at, step._replace(at_us=rounded))):
                    has_shrunk = True
                    break
        return has_shrunk

    def _with(self, at: int, step: Step) -> Plan:
        steps = self.plan.steps
        return self.plan._replace(steps=(*steps[:at], step, *steps[at + 1 :]))


IDENTITY = ("id", "name")
"""Arguments that stay: without the id that it knows, the judge takes a job for one that nobody has enqueued."""


def _simpler(args: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Arguments that are simpler than these, each in one respect."""
    for name, value in sorted(args.items()):
        if name not in IDENTITY:
            yield {key: kept for key, kept in args.items() if key != name}
        for smaller in _smaller(value):
            yield {**args, name: smaller}


def _smaller(value: Any) -> Sequence[Any]:
    """Smaller values of the same kind, the smallest first."""
    if isinstance(value, bool) or not value:
        return ()
    if isinstance(value, int):
        return sorted({0, 1, value // 2} - {value})
    if isinstance(value, float):
        return sorted({0.0, float(int(value)), round(value, 1)} - {value})
    if isinstance(value, list):
        return [value[: len(value) // 2], value[1:], value[:-1]]
    if isinstance(value, dict):
        return list(_simpler(value))
    return ()


def shrink(plan: Plan, fails: Fails, *, seconds: float = 60.0) -> Shrunk:
    """Make a failing plan smaller while it fails.

    Args:
        plan: The plan.
        fails: Whether a plan fails in the same way.
        seconds: How long to go on.
    """
    return Shrinker(plan, fails, seconds=seconds).shrunk()
