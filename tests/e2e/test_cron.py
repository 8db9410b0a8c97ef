"""Recurring jobs with real reapers, which die."""

from __future__ import annotations

import random
import signal
from datetime import timedelta
from itertools import pairwise

import pytest

from jobfleet import Fleet, Job
from tests.support.fleet import Programs
from tests.support.waiting import wait_until


def await_another(fleet: Fleet) -> None:
    """Wait until one more fire stands in the ledger."""
    known = len(fleet.cron.history("tick", limit=1000))
    wait_until(lambda: len(fleet.cron.history("tick", limit=1000)) > known, timeout=60, why="it fires")


@pytest.mark.parametrize(
    ("reapers", "seconds"), [(3, 6), pytest.param(10, 120, marks=[pytest.mark.slow, pytest.mark.timeout(400)])]
)
def test_every_second_fires_once_though_a_reaper_dies_each_second(
    programs: Programs, fleet: Fleet, reapers: int, seconds: int
) -> None:
    dice = random.Random(reapers)
    fleet.cron.add("tick", "* * * * * *", Job("tick", "test.tick"))
    alive = [programs.start("reaper") for _ in range(reapers)]
    while len(fleet.cron.history("tick", limit=1000)) < seconds:
        victim = alive.pop(dice.randrange(len(alive)))
        await_another(fleet)
        victim.send_all(signal.SIGKILL)
        alive.append(programs.start("reaper"))

    fires = sorted(fleet.cron.history("tick", limit=1000))
    rows = {row.id for row in fleet.jobs(limit=2000).jobs}
    fleet.cron.pause("tick")

    assert {later.at - earlier.at for earlier, later in pairwise(fires)} == {timedelta(seconds=1)}
    fired = [fire.job_id for fire in fires if fire.outcome in ("fired", "late")]
    assert len(fired) == len(set(fired))
    assert set(fired) <= rows
    assert len(rows) <= len(fired) + 1  # one may have fired after the ledger was read
