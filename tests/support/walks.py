"""Judges what waiting jobs have written down: each continues exactly once per signal and per sleep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

MAY_LAST_US = 2_000_000
"""How long a run may need to be put down in Redis after it has written its last line. One whose process dies within
that time may run again."""
LOST_US = 5_000_000
"""The same before a failover, which may lose what was acknowledged just before it."""


class Row(NamedTuple):
    """A line: what a run did, or a fault."""

    event: str
    job: str
    fence: int
    pid: int
    place: int
    at_us: int


@dataclass
class Verdict:
    """What was seen.

    Attributes:
        faults: What must not be.
        runs: How many runs there were.
        continued: How many passages of waits were new to their jobs.
        excused: How many runs were repeated because of a fault within them.
    """

    faults: list[str] = field(default_factory=list)
    runs: int = 0
    continued: int = 0
    excused: int = 0


def read(path: Path) -> list[Row]:
    """All lines, as they were written."""
    rows = (line.split() for line in path.read_text().splitlines())
    return [Row(event, job, int(fence), int(pid), int(place), int(at)) for event, job, fence, pid, place, at in rows]


def judge(
    rows: Sequence[Row], jobs: Sequence[str], *, rounds: int, nap_us: int, failovers: Sequence[int] = ()
) -> Verdict:
    """Judge all jobs.

    Args:
        rows: The lines in the order in which they were written.
        jobs: The ids of the jobs.
        rounds: The signals that each has waited for.
        nap_us: How long each sleep takes at least.
        failovers: When the Sentinels took a step of a failover, in µs, whoever caused it.
    """
    verdict = Verdict()
    killed = {row.pid: row.at_us for row in rows if row.event == "kill"}
    moved = [*(row.at_us for row in rows if row.event == "failover"), *failovers]
    for job in jobs:
        _judge_job(verdict, job, [row for row in rows if row.job == job], killed, moved, rounds, nap_us)
    return verdict


def _judge_job(
    verdict: Verdict, job: str, rows: list[Row], killed: dict[int, int], failovers: list[int], rounds: int, nap_us: int
) -> None:
    fences = list(dict.fromkeys(row.fence for row in rows))
    runs = [[row for row in rows if row.fence == fence] for fence in fences]
    verdict.runs += len(runs)
    wrong = verdict.faults.append
    if fences != sorted(fences):
        wrong(f"{job}: the fences of its runs are {fences}")
    for earlier, later in pairwise(runs):
        if earlier[-1].at_us > later[0].at_us and earlier[0].pid not in killed:
            wrong(f"{job}: two of its runs overlap at {later[0].at_us}")
    reached = -1  # where the last run came to that nothing has disturbed
    slept_from: dict[int, int] = {}
    for run in runs:
        last = run[-1]
        verdict.faults += [f"{job}: {text}" for text in _wrong_within(run, slept_from, nap_us)]
        if last.event not in {"stop", "done"}:
            if last.pid not in killed:
                wrong(f"{job}: nobody has killed {last.pid}, and its run has ended after {last}")
            verdict.excused += 1
            continue
        if last.place <= reached:
            wrong(f"{job}: it came to {reached} before, and without a cause to {last.place} again in run {last.fence}")
        if _is_excused(last, killed, failovers):
            verdict.excused += 1
            continue
        verdict.continued += last.place - max(reached, 0)
        reached = last.place
    if reached != 2 * rounds and not any(row.event == "done" for row in rows):
        wrong(f"{job}: it has come to {reached} of {2 * rounds}")


def _wrong_within(run: list[Row], slept_from: dict[int, int], nap_us: int) -> list[str]:
    """What is wrong with one run: it left a wait out, or a sleep was too short. Notes where its sleep began."""
    passed = [row for row in run if row.event == "pass"]
    found = [] if [row.place for row in passed] == list(range(len(passed))) else [f"a run has passed {passed}"]
    for row in passed:
        slept = row.at_us - slept_from.get(row.place, 0)
        if slept < nap_us - 1_000:  # Redis counts the due time in milliseconds
            found.append(f"it has slept for {slept} µs at {row.place}")
    if run[-1].event == "stop" and run[-1].place % 2:
        slept_from.setdefault(run[-1].place, run[-1].at_us)
    return found


def _is_excused(last: Row, killed: dict[int, int], failovers: list[int]) -> bool:
    """Whether the end of a run may not have reached Redis, or was lost there."""
    died = killed.get(last.pid, 0) - last.at_us
    return 0 <= died < MAY_LAST_US or any(-MAY_LAST_US < at - last.at_us < LOST_US for at in failovers)
