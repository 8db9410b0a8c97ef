"""The figures of a run: what was acknowledged and lost, and how long it took to recover."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from tests.support.chaos.case import Case
from tests.support.chaos.invariants import judge
from tests.support.chaos.trail import Breach


class Verdict(NamedTuple):
    """One run in figures.

    Attributes:
        fault: Its name.
        seed: Of its choices.
        jobs: How many jobs producers have asked for.
        acknowledged: How many of these were acknowledged.
        unknown: Of how many the outcome stayed unknown.
        lost: How many acknowledged jobs are unknown at the end.
        excused: How many of the lost ones the promised durability does not cover.
        duplicates: How many second results were accepted; the promise is 0.
        reruns: How many runs were repeated.
        recovery_p50: Seconds from a fault to the next run of a job that it interrupted, the median.
        recovery_worst: The longest of these.
        seconds: How long it all took.
        breaches: What was violated.
        level: The durability of the jobs.
        outages: For each queue, the longest time in seconds without an answer to an enqueue.
        keys: How many keys of each kind are left, after a run with short retentions.
    """

    fault: str
    seed: int
    jobs: int
    acknowledged: int
    unknown: int
    lost: int
    excused: int
    duplicates: int
    reruns: int
    recovery_p50: float | None
    recovery_worst: float | None
    seconds: float
    breaches: list[Breach]
    level: str = "fast"
    outages: tuple[tuple[str, float], ...] = ()
    keys: Mapping[str, int] = {}

    @property
    def line(self) -> str:
        """All of it in one line."""
        recovery = "-" if self.recovery_p50 is None else f"{self.recovery_p50:.1f}/{self.recovery_worst:.1f} s"
        return (
            f"{'FAILED' if self.breaches else 'ok    '} {self.fault:<22} {self.jobs:>6} jobs {self.acknowledged:>6} "
            f"acknowledged {self.lost:>4} lost ({self.excused} excused) {self.duplicates:>2} duplicates "
            f"{self.reruns:>5} reruns  recovery {recovery:<12} {self.seconds:5.1f} s  {self.level:<10} "
            f"away {', '.join(f'{queue} {seconds:.1f} s' for queue, seconds in self.outages)}"
        )


def figures(case: Case) -> Verdict:
    """Judge a run and count."""
    lost = [one for job_id, one in case.acknowledged.items() if not case.state_of(job_id)]
    excused = [one for one in lost if case.is_excused(one)]
    breaches = judge(case)
    times = recoveries(case)
    return Verdict(
        fault=case.run["fault"],
        seed=case.run["seed"],
        jobs=len(case.asked),
        acknowledged=len(case.acknowledged),
        unknown=len(case.asked) - len(case.acknowledged),
        lost=len(lost),
        excused=len(excused),
        duplicates=sum(breach.invariant in {7, 8} for breach in breaches),
        reruns=sum(len(runs) - 1 for runs in case.runs.values()),
        recovery_p50=round(median(times), 3) if times else None,
        recovery_worst=round(max(times), 3) if times else None,
        seconds=round(case.run["seconds"], 1),
        breaches=breaches,
        level=case.run.get("level", "fast"),
        outages=tuple((queue, round(seconds, 3)) for queue, seconds in sorted(case.outages.items())),
        keys=case.final.get("keys", {}),
    )


def recoveries(case: Case) -> list[float]:
    """For each run that a fault interrupted, the seconds until the job ran again.

    They count from the first fault after the start of the interrupted run, so they are at most too long.
    """
    faults = [record.at for record in case.history if record.process == "nemesis" and record.kind == "invoke"]
    over = {
        (record.id, record.token): record.at
        for record in case.history
        if record.op == "run" and record.kind != "invoke"
    }  # fmt: skip
    found = []
    for job_id, runs in case.runs.items():
        for run, following in pairwise(runs):
            between = [at for at in faults if run.at <= at <= following.at]
            if between and over.get((job_id, run.token), following.at) >= following.at:
                found.append(following.at - between[0])
    return found
