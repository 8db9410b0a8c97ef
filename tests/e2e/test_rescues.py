"""A rescue under real reapers: one is killed midway, or Redis restarts, and each job runs to its end once."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

APP = """
import os
from pathlib import Path

from jobfleet import JobContext, job

FOLDER = Path(os.environ["JOBFLEET_TEST_FOLDER"])

@job(name="app.send", max_retries=0)
async def send(ctx: JobContext, number: int):
    with open(os.environ["HISTORY_FILE"], "a") as history:
        history.write(f"start {ctx.job_id} {ctx.fence} {os.getpid()}\\n")
    if (FOLDER / "broken").exists():
        raise ConnectionError(f"host {number} refuses")
"""
COUNT = 60


@pytest.fixture
def group(programs: Programs, fleet: Fleet, tmp_path: Path) -> str:
    """A worker, and a group of dead letters whose cause is removed."""
    return bury_all(programs, fleet, tmp_path)


def bury_all(programs: Programs, fleet: Fleet, folder: Path) -> str:
    """Start a worker whose jobs all fail, and remove the cause; return the group of the dead letters."""
    (folder / "sending.py").write_text(APP)
    (programs.folder / "broken").touch()
    programs.ready("sending", app_dir=folder)
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("send", "app.send", (n,)) for n in range(COUNT))]
    settle_all(fleet, ids)
    (programs.folder / "broken").unlink()
    (group,) = fleet.dead_groups()
    assert group.count == COUNT
    return group.fingerprint


def test_a_rescue_survives_the_death_of_its_reaper(programs: Programs, fleet: Fleet, group: str) -> None:
    first = programs.reaper()
    rescue = fleet.rescue(group, canary=(1, 10), rate="20/s")
    wait_until(lambda: rescue.status().replayed > 11, timeout=LONG, why="the canary has ended well")
    first.send_all(signal.SIGKILL)
    assert rescue.status().state == "running"

    programs.reaper()
    programs.reaper()
    wait_until(lambda: rescue.status().is_over, timeout=LONG, why="the rescue is over")

    status = rescue.status()
    assert (status.state, status.replayed, status.completed, status.failed) == ("completed", COUNT, COUNT, 0)
    assert fleet.dead() == []
    assert Counter(programs.history.starts().values()) == {2: COUNT}


def test_a_rescue_that_fails_again_stops_and_leaves_the_rest(programs: Programs, fleet: Fleet, group: str) -> None:
    (programs.folder / "broken").touch()
    programs.reaper()
    rescue = fleet.rescue(group, canary=(1, 10))
    wait_until(lambda: rescue.status().is_over, timeout=LONG, why="the rescue stops")

    status = rescue.status()
    assert (status.state, status.why, status.replayed, status.failed) == ("stopped", "failures", 1, 1)
    assert fleet.dead_group(group).count == COUNT


def test_a_rescue_survives_a_restart_of_redis(
    own_programs: Programs, own_server: RedisServer, own_fleet: Fleet, tmp_path: Path
) -> None:
    group = bury_all(own_programs, own_fleet, tmp_path)
    own_programs.reaper()
    rescue = own_fleet.rescue(group, canary=(1, 10), rate="10/s")
    wait_until(lambda: rescue.status().replayed > 11, timeout=LONG, why="the canary has ended well")

    own_server.restart()
    assert not rescue.status().is_over
    wait_until(lambda: rescue.status().is_over, timeout=LONG, why="the rescue is over")

    status = rescue.status()
    assert (status.state, status.replayed, status.failed) == ("completed", COUNT, 0)
    assert own_fleet.dead() == []
    assert (own_fleet.dead_group(group).count, own_fleet.rescues()[0].total) == (0, COUNT)
    assert {own_fleet.poll(job_id).status for job_id in own_programs.history.starts()} == {JobStatus.COMPLETED}
    assert len(own_programs.history.starts()) == COUNT
