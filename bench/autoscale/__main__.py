"""`python -m bench.autoscale`: jobs late, worker hours and flaps under three policies, for each load and many seeds."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.autoscale.loads import LOADS, Load, recorded
from bench.autoscale.policies import Jobfleet, Length, Policy
from bench.autoscale.simulation import Figures, Simulation
from jobfleet.model.scale import ScaleRule

SLOTS, MOST, WAIT = 4, 20, 30.0
RECORDED = Path(__file__).with_name("recorded.json")
HEADS = ("load", "policy", "late, % of jobs", "wait p95, s", "worker hours", "flaps", "runs cut off", "unfinished")
FIRST_SEED = 1000
"""Reports use seeds from here; the constants were chosen with seeds below it."""


def policies(jobs: float) -> dict[str, Callable[[], Policy]]:
    """The policies by name; each run needs a fresh one."""
    return {
        "jobfleet": lambda: Jobfleet(ScaleRule(most=MOST, wait=WAIT)),
        "queue length": lambda: Length(jobs, MOST, counts_running=False),
        "length and running": lambda: Length(SLOTS, MOST, counts_running=True),
    }


def runs(load: Load, make: Callable[[], Policy], seeds: Sequence[int]) -> list[Figures]:
    """The figures of a load under a policy, for each seed."""
    found = []
    for seed in seeds:
        chance = random.Random(seed)
        found.append(Simulation(load(chance), make(), slots=SLOTS, wait=WAIT, chance=chance).run())
    return found


def row(load: str, policy: str, found: Sequence[Figures]) -> list[str]:
    """A row of the table: each figure as its median and its range."""
    columns = (
        [100 * one.late / max(1, one.jobs) for one in found],
        [one.p95 for one in found],
        [one.worker_seconds / 3600 for one in found],
        [float(one.flaps) for one in found],
        [float(one.interrupted) for one in found],
        [float(one.unfinished) for one in found],
    )
    digits = (1, 0, 1, 0, 0, 0)
    return [load, policy, *(shown(values, digit) for values, digit in zip(columns, digits, strict=True))]


def shown(values: Sequence[float], digits: int) -> str:
    """The median, and the range if there is one."""
    low, middle, high = min(values), statistics.median(values), max(values)
    text = f"{middle:,.{digits}f}"
    return text if f"{low:.{digits}f}" == f"{high:.{digits}f}" else f"{text} ({low:,.{digits}f} to {high:,.{digits}f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table as Markdown; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/autoscale", description=__doc__)
    parser.add_argument("--seeds", type=int, default=21, metavar="N", help="Number of seeds (default 21).")
    parser.add_argument("--first", type=int, default=FIRST_SEED, metavar="N", help="The first seed (default 1000).")
    parser.add_argument(
        "--jobs", type=float, default=10, metavar="N", help="Waiting jobs per worker for 'queue length'."
    )
    parser.add_argument("--loads", default=",".join((*LOADS, "recorded")), metavar="NAMES")
    parser.add_argument(
        "--trace", type=Path, default=RECORDED, metavar="FILE",
        help="The recorded load: the output of 'jobfleet stats --queue NAME --since 1h --step 10s -o json'.",
    )  # fmt: skip
    parser.add_argument("--wake", type=int, metavar="N", help="Measure N times, with real processes, a wake from zero.")
    given = parser.parse_args(arguments)
    if given.wake:
        from bench.autoscale import wake  # it needs what the tests need

        print(wake.shown(wake.measure(given.wake)))
        return 0
    known = {**LOADS, "recorded": recorded(given.trace)}
    unknown = set(given.loads.split(",")) - known.keys()
    if unknown:
        parser.error(f"no load {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    seeds = range(given.first, given.first + given.seeds)
    print(f"| {' | '.join(HEADS)} |\n|{' --- |' * len(HEADS)}")
    for name in given.loads.split(","):
        for policy, make in policies(given.jobs).items():
            print(f"| {' | '.join(row(name, policy, runs(known[name], make, seeds)))} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
