"""The explorer of crashes: runs a test under each of its kill points, and judges whether its jobs are idempotent."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from jobfleet.testing.faults import occurrences
from jobfleet.testing.jobs import Jobs

MOST = 50
"""Points that are tried by default."""
COUNTS: dict[int, str] = {1: "once", 2: "twice"}
LOST = "lost-reply:"


class Point(NamedTuple):
    """Where a run of the test dies, or which reply it loses.

    Attributes:
        name: The kill point; for a lost reply ``lost-reply:VERB``.
        occurrence: At which time that it is reached.
    """

    name: str
    occurrence: int

    def __str__(self) -> str:
        verb = self.name.removeprefix(LOST)
        shown = f"the lost reply to {verb}" if verb != self.name else f"a kill at {self.name}"
        return shown if self.occurrence == 1 else f"{shown} (occurrence {self.occurrence})"

    def arm(self, jobs: Jobs) -> None:
        """Set the point."""
        if self.name.startswith(LOST):
            jobs.lose_reply(self.name.removeprefix(LOST))
        else:
            jobs.kill_at(self.name, self.occurrence)


@dataclass(slots=True)
class Report:
    """What the explorer has found.

    Attributes:
        points: The points that were tried.
        skipped: How many more points the first run has passed.
        findings: What is wrong, one sentence for each point; empty if the jobs are idempotent.
    """

    points: list[Point] = field(default_factory=list)
    skipped: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def is_idempotent(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        head = f"{len(self.findings)} of {len(self.points)} kill points show that the test's jobs are not idempotent:"
        return "\n".join([head, *(f"  {finding}" for finding in self.findings)])


def explore(
    test: Callable[[Jobs], object],
    make: Callable[[], Jobs],
    *,
    seed: int = 0,
    most: int = MOST,
) -> Report:
    """Run a test once as it is, then once for each kill point that it has passed.

    In the later runs the worker dies at the point, and `Jobs.drain` then lets the lease end and runs the job again, as
    a fleet does. Each run must have the same effects as the first: an effect without a key as often, one with an
    idempotency key for the same keys. The assertions of the test must hold, too.

    Args:
        test: The test. It makes its own data, because it runs several times.
        make: Makes the `Jobs` of a run, in a namespace of its own; it is closed after the run.
        seed: Chooses the points if there are more than `most`.
        most: The most points to try.

    Raises:
        BaseException: The test fails without a crash, too.
    """
    clean = _run(test, make, None)
    found = [Point(*one) for one in occurrences(clean.kit.faults.passed)]
    found += [Point(f"{LOST}settle", 1), Point(f"{LOST}enqueue", 1)]
    report = Report(found, 0)
    if len(found) > most:
        chosen = sorted(random.Random(seed).sample(range(len(found)), most))
        report = Report([found[number] for number in chosen], len(found) - most)
    expected = clean.effects()
    for point in report.points:
        try:
            jobs = _run(test, make, point)
        except Exception as error:  # noqa: BLE001 - the assertions of the test are a part of the verdict
            report.findings.append(f"the test fails after {point}: {type(error).__name__}: {_first_line(error)}")
            continue
        report.findings += [f"{what} after {point}" for what in _differences(expected, jobs)]
    return report


def _run(test: Callable[[Jobs], object], make: Callable[[], Jobs], point: Point | None) -> Jobs:
    jobs = make()
    with jobs.in_place():
        try:
            jobs.kit.explores = True
            if point is not None:
                point.arm(jobs)
            test(jobs)
        finally:
            jobs.fleet.close()
    return jobs


def _differences(expected: dict[str, int], jobs: Jobs) -> list[str]:
    counts, found = jobs.effects(), []
    for name in dict.fromkeys((*expected, *counts)):
        wanted, count = expected.get(name, 0), counts.get(name, 0)
        if count > wanted:
            attempts = [str(attempt) for attempt in jobs.kit.effects.attempts(name) if attempt]
            between = f" between attempt {' and '.join(attempts)}" if len(attempts) > 1 else ""
            found.append(f"{name} ran {_times(count)}{between}{_instead(wanted)}")
        elif count < wanted:
            found.append(f"{name} ran {_times(count)}{_instead(wanted)}" if count else f"{name} never ran")
    return found


def _times(count: int) -> str:
    return COUNTS.get(count, f"{count} times")


def _instead(wanted: int) -> str:
    return "" if wanted == 1 else f" in place of {_times(wanted)}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")
