"""Searches for plans that fail: one seed after the other, each plan drawn with a preference for what is rare so far.

A plan depends on its seed and on what the seeds before it have met, so a failing plan is kept, not only its seed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.simulation.bugs import BUGS, Bug
from tests.simulation.coverage import Coverage
from tests.simulation.generator import generated
from tests.simulation.judge import NAMES, Verdict, run
from tests.simulation.plan import FAULTS, Plan, Step
from tests.simulation.server import valkey
from tests.simulation.shrink import Shrunk, shrink
from tests.simulation.story import sentences
from tests.simulation.world import simulate
from tests.support.chaos.invariants import INVARIANTS

STORIES = Path(__file__).parent / "stories"
TITLES = {one.number: one.name for one in INVARIANTS} | NAMES


@dataclass
class Report:
    """What a search has come to.

    Attributes:
        coverage: What all runs have met.
        failures: The verdicts of the plans that failed.
        seeds: How many plans were run.
        faults: How many faults these had.
        jobs: How many jobs were enqueued.
        runs: How many runs of jobs' code there were.
        exchanges: How many scripts were executed.
        virtual_s: How long all runs took in virtual time.
        real_s: How long the search took, in seconds of processors.
    """

    coverage: Coverage = field(default_factory=Coverage)
    failures: list[Verdict] = field(default_factory=list)
    seeds: int = 0
    faults: int = 0
    jobs: int = 0
    runs: int = 0
    exchanges: int = 0
    virtual_s: float = 0.0
    real_s: float = 0.0

    def add(self, verdict: Verdict) -> None:
        """Count a run."""
        self.coverage.add(verdict.coverage)
        self.seeds += 1
        self.faults += verdict.faults
        self.jobs += len(verdict.ledger.jobs)
        self.exchanges += verdict.ledger.step
        if verdict.outcome is not None:
            self.runs += len(verdict.outcome.runs)
            self.virtual_s += verdict.outcome.virtual_us / 1e6
        if verdict.breaches:
            self.failures.append(verdict)

    def __str__(self) -> str:
        speed = self.virtual_s / max(self.real_s, 1e-9)
        return (
            f"{self.seeds} seeds, {self.faults} faults, {self.jobs} jobs, {self.runs} runs of their code, "
            f"{self.exchanges} scripts, {self.virtual_s / 3600:.2f} virtual hours in {self.real_s:.0f} s "
            f"({speed:.0f} times real time, {self.jobs / max(self.real_s, 1e-9):.0f} jobs per second), "
            f"{len(self.failures)} failures"
        )


def search(
    seconds: float,
    *,
    first: int = 1,
    bug: Bug | None = None,
    most: int = 0,
    on_failure: Callable[[Verdict], None] | None = None,
) -> Report:
    """Run plans until the time is over.

    Args:
        seconds: How long.
        first: The first seed.
        bug: A bug to plant.
        most: End after so many failures; 0 never ends early.
        on_failure: Called with each failure.
    """
    report, began = Report(), cpu_seconds()
    for seed in count(first):
        verdict = judged(generated(seed, report.coverage), bug)
        report.add(verdict)
        report.real_s = cpu_seconds() - began
        if verdict.breaches and on_failure is not None:
            on_failure(verdict)
        if report.real_s >= seconds or (most and len(report.failures) >= most):
            return report
    raise AssertionError("there are always more seeds")


def speed(seconds: float, *, first: int = 1, jobs: int = 4000) -> Iterator[str]:
    """Measure fleets of five workers with a fault per ten virtual seconds; then one that only runs empty jobs.

    Args:
        seconds: How long to go on with the first.
        first: The first seed.
        jobs: How many empty jobs.
    """
    report, began = Report(), cpu_seconds()
    for seed in count(first):
        plan = generated(seed, report.coverage)._replace(workers=5)
        if any(step.verb in FAULTS for step in plan.steps):
            report.add(judged(plan))
        report.real_s = cpu_seconds() - began
        if report.real_s >= seconds:
            break
    yield f"five workers, a fault per ten virtual seconds: {report}"
    part = 250
    steps = tuple(
        Step(1_000_000 + at, "producer.1", "enqueue_many", {"jobs": [{"id": f"e{at + n}"} for n in range(part)]})
        for at in range(0, jobs, part)
    )
    plan, began = Plan(first, 5, 1, 1, {"slots": 8}, steps, 2_000_000), cpu_seconds()
    outcome = simulate(plan, quiet_for=0.0)
    took = cpu_seconds() - began
    ended = sum(one.ended == "returned" for one in outcome.runs)
    yield f"five workers, {ended} empty jobs without the judge: {ended / took:.0f} jobs per second"


def judged(plan: Plan, bug: Bug | None = None, *, stops: bool = True) -> Verdict:
    """Run a plan, perhaps with a planted bug; `stops`: only up to the first violation."""
    if bug is None:
        return run(plan, stops=stops)
    with bug.planted() as scripts:
        return run(plan, scripts, stops=stops)


def cpu_seconds() -> float:
    """The time that this process and its server have used of processors, which others on the machine do not change."""
    fields = Path(f"/proc/{valkey().pid}/stat").read_text().rpartition(") ")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def smallest(verdict: Verdict, bug: Bug | None = None, *, seconds: float = 60.0) -> Shrunk:
    """Shrink a failing plan while it violates an invariant that it violated before."""

    def fails(plan: Plan) -> bool:
        return bool(judged(plan, bug).invariants & verdict.invariants)

    return shrink(verdict.plan, fails, seconds=seconds)


def breaches_of(verdict: Verdict, most: int = 10) -> Iterator[str]:
    """What a plan has violated, one line each."""
    for breach in verdict.breaches[:most]:
        yield f"{breach.invariant} ({TITLES.get(breach.invariant, '?')}): {breach.what}"
    if len(verdict.breaches) > most:
        yield f"and {len(verdict.breaches) - most} more"


def keep(name: str, plan: Plan, breaches: list[str], bug: str = "", *, folder: Path = STORIES) -> Path:
    """Write a plan down as a story that the tests run again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    fields = {"bug": bug, "violated": breaches, "story": sentences(plan), "plan": json.loads(plan.dumped())}
    path.write_text(json.dumps(fields, indent=1) + "\n")
    return path


class Story(NamedTuple):
    """A plan that has failed once.

    Attributes:
        name: Its name.
        bug: The planted bug with which it fails; empty for one of the product, which is mended.
        plan: The plan.
    """

    name: str
    bug: str
    plan: Plan


def plan_of(path: Path) -> Plan:
    """Read a plan from a file, which may be that of a story."""
    fields = json.loads(path.read_text())
    return Plan.loaded(json.dumps(fields.get("plan", fields)))


def stories(folder: Path = STORIES) -> list[Story]:
    """All stories that were kept."""
    return [
        Story(path.stem, json.loads(path.read_text())["bug"], plan_of(path)) for path in sorted(folder.glob("*.json"))
    ]


class Hunt(NamedTuple):
    """How a planted bug was looked for.

    Attributes:
        bug: The bug.
        seeds: For each search, how many seeds it took; those without success are left out.
        seconds: The same in seconds.
        misses: How many searches did not find it in time.
        invariants: What the first verdicts violated.
        first: The first failing verdict; None without one.
    """

    bug: Bug
    seeds: list[int]
    seconds: list[float]
    misses: int
    invariants: set[int]
    first: Verdict | None

    def __str__(self) -> str:
        total = len(self.seeds) + self.misses
        if not self.seeds:
            return f"{self.bug.name:<20} NOT FOUND in {total} searches                              {self.bug.does}"
        by = ", ".join(map(str, sorted(self.invariants)))
        return (
            f"{self.bug.name:<20} {len(self.seeds)}/{total} searches  median {median(self.seeds):>5g} seeds "
            f"{median(self.seconds):6.1f} s  by {by:<22} {self.bug.does}"
        )


def hunt(name: str, *, searches: int = 3, seconds: float = 60.0, first: int = 1) -> Hunt:
    """Look for a planted bug several times, from different seeds."""
    found = Hunt(BUGS[name], [], [], 0, set(), None)
    for number in range(searches):
        report = search(seconds, first=first + number * 100_000, bug=found.bug, most=1)
        if not report.failures:
            found = found._replace(misses=found.misses + 1)
            continue
        found.seeds.append(report.seeds)
        found.seconds.append(report.real_s)
        found.invariants.update(report.failures[0].invariants)
        found = found._replace(first=found.first or report.failures[0])
    return found
