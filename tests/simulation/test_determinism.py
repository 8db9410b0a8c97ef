"""Equal plans give equal traces: twice in one process, and in two processes with other hashes.

``python -m tests.simulation.test_determinism 1 2 3`` prints a line per plan; compare those of two runs, or two Pythons.
With ``generated`` before the seeds, the plans are those of the search.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from typing import Any

from tests.simulation.generator import generated
from tests.simulation.plan import FAULTS, Outcome, Plan, Step
from tests.simulation.world import simulate
from tests.support.fleet import ROOT

SECOND = 1_000_000
PLANS = 8
LENGTH = 12 * SECOND
ACTS: tuple[list[list[Any]], ...] = (
    [["sleep", 0.3], ["effect", "x"]],
    [["fail", 1], ["effect", "y"]],
    [["step", "a", 0.5], ["sleep", 1.0], ["step", "b", 0.5]],
    [["wait", "go", 4]],
    [["nap", 3], ["effect", "rested"]],
    [["lock", "L", 0.5]],
    [["progress", 0.5], ["emit", "hello"], ["sleep", 0.5]],
    [["die"]],
)


def plan(seed: int) -> Plan:
    """A plan of everything at once; only for this test, the search has a better generator."""
    dice = random.Random(f"plan {seed}")
    steps: list[Step] = [Step(SECOND, "operator", "limit", {"name": "api", "concurrency": 2})]
    for number in range(14):
        args: dict[str, Any] = {"id": f"j{number}", "acts": dice.choice(ACTS), "max_crashes": 2}
        args |= dice.choice(
            (
                {},
                {"function": "limited"},
                {"function": "broken"},
                {"group": "g", "order": "strict"},
                {"unique": "u", "unique_for": "open"},
                {"delay": 2.0},
                {"function": "blocking", "acts": [["sleep", 1.0], ["effect", "blocked"]]},
            )
        )
        at = dice.randrange(SECOND, LENGTH)
        steps.append(Step(at, f"producer.{1 + number % 2}", "enqueue", args))
        if dice.random() < 0.3:
            verb = dice.choice(("cancel", "forget", "replay"))
            steps.append(Step(at + dice.randrange(3 * SECOND), "operator", verb, {"job": f"j{number}"}))
    steps.append(Step(2 * SECOND, "producer.1", "signal", {"job": "j3", "name": "go", "value": 1}))
    for _ in range(3):
        steps += _fault(dice)
    return Plan(seed, 2, 1, 1, {"lease": 6.0}, tuple(steps), LENGTH)


def _fault(dice: random.Random) -> list[Step]:
    verb, at = dice.choice(FAULTS), dice.randrange(2 * SECOND, LENGTH)
    worker = dice.choice(("worker.1", "worker.2"))
    match verb:
        case "kill_child" | "kill_worker" | "stop_worker":
            return [Step(at, worker, verb, {}), Step(at + 3 * SECOND, worker, "start_worker", {})]
        case "freeze" | "thaw":
            return [Step(at, worker, "freeze", {"child": 0}), Step(at + 8 * SECOND, worker, "thaw", {"child": 0})]
        case "partition" | "mend":
            return [
                Step(at, "network", "partition", {"machine": worker}),
                Step(at + SECOND, "network", "mend", {"machine": worker}),
            ]
        case "drop_reply" | "drop_request" | "late_request":
            return [Step(at, "network", verb, {"script": dice.choice(("claim", "settle", "enqueue")), "silent": True})]
        case "delay":
            return [Step(at, "network", verb, {"machine": worker, "least_us": 1000, "most_us": 300_000})]
        case "restart" | "failover":
            return [Step(at, "server", verb, {"lost": dice.randrange(5)})]
        case "jump":
            return [Step(at, "clock", verb, {"machine": "server", "by_us": dice.choice((-SECOND, 5 * SECOND))})]
        case "drift":
            return [Step(at, "clock", verb, {"machine": worker, "rate": 0.01})]
        case "start_worker":
            return [Step(at, "worker.3", verb, {})]
        case _:
            return [Step(at, "server", verb, {})]


def digest(outcome: Outcome) -> str:
    """A hash of all that an outcome says, except the real time."""
    text = repr((outcome.trace, outcome.runs, outcome.acknowledged, outcome.state, outcome.virtual_us))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def test_equal_plans_give_equal_outcomes_in_any_process() -> None:
    """In processes of their own, because other tests leave things in this one, such as a warning that came once."""
    seeds = [str(seed) for seed in range(PLANS)]
    others = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.simulation.test_determinism", *order],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        for order, hash_seed in ((seeds, "7"), (seeds[::-1] + seeds[:2], "11"))
    ]
    forwards, backwards = (other.communicate()[0].split() for other in others)
    assert forwards == backwards[PLANS - 1 :: -1]
    assert forwards[:2] == backwards[PLANS:]  # once more in the same process
    assert len(set(forwards)) == PLANS


if __name__ == "__main__":
    outcomes, make = [], generated if sys.argv[1:2] == ["generated"] else plan
    for number in map(int, sys.argv[2 if make is generated else 1 :]):
        outcomes.append(simulate(make(number), quiet_for=4.0))
        print(digest(outcomes[-1]), flush=True)  # noqa: T201 - the output
    virtual, real = sum(one.virtual_us for one in outcomes) / SECOND, sum(one.real_s for one in outcomes)
    counts = f"{sum(len(one.runs) for one in outcomes)} runs, {sum(one.exchanges for one in outcomes)} exchanges"
    sys.stderr.write(f"{virtual:.0f} virtual seconds in {real:.1f} s, {virtual / real:.0f} times real time; {counts}\n")
