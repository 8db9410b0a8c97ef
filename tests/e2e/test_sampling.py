"""The history of a real fleet: a worker with a reaper runs jobs, and `history` shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobfleet import Fleet, InvalidJob, Job
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until

APP = """
from jobfleet import job

@job(name="app.send", queue="mail", max_retries=0)
def send(number: int):
    if number < 3:
        raise ValueError("no luck")
"""
COUNT, BAD = 20, 3


@pytest.mark.slow
def test_jobs_that_have_run_are_in_the_history(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "sending.py").write_text(APP)
    programs.ready("sending", app_dir=tmp_path, with_reaper=True, beat=1)
    wait_until(lambda: _total(fleet, "dead") is not None, timeout=LONG, why="the first sample is taken")
    jobs = [Job("send", "app.send", (number,), queue="mail") for number in range(COUNT)]
    settle_all(fleet, [receipt.id for receipt in fleet.enqueue_many(jobs)])

    wait_until(
        lambda: _total(fleet, "failed") == BAD and _total(fleet, "failed", function="app.send") == BAD,
        timeout=LONG,
        why="the jobs are in a sample of the lanes and in one of the workers",
    )

    found = fleet.history("mail", since="5m")
    assert [found.total(name) for name in ("enqueued", "completed", "failed")] == [COUNT, COUNT - BAD, BAD]
    of_function = fleet.history(function="app.send", since="5m")
    assert [of_function.total(name) for name in ("started", "completed", "failed")] == [COUNT, COUNT - BAD, BAD]
    assert of_function.run is not None
    assert of_function.wait is not None
    assert [point.dead for point in found.points if point.dead is not None][-1] == BAD
    assert len(found.deploys) == 1


def _total(fleet: Fleet, name: str, **of: str) -> int | None:
    """A counter of the fleet or of a function over the last minutes; None before the first sample."""
    try:
        return fleet.history(since="5m", **of).total(name)
    except InvalidJob:  # no sample has the function yet
        return None
