"""Row 9: delay × backoff ^ retry, with jitter; a limit a job."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus, enqueue, wait
from tests.support.fleet import LONG, Programs


@pytest.mark.parametrize(("jitter", "least"), [(False, 1.0), (True, 0.5)])
def test_each_delay_is_longer_by_the_factor(
    fleet: Fleet, programs: Programs, tmp_path: Path, jitter: bool, least: float
) -> None:
    programs.ready("seeds")
    log = tmp_path / "moments"
    job = Job(
        name="Moments", function="seed.moments", args=(str(log), 3), max_retries=3, retry_delay=0.1, retry_backoff=3.0,
        retry_jitter=jitter,
    )  # fmt: skip

    assert wait(enqueue(job), timeout=LONG).status is JobStatus.COMPLETED

    gaps = [(after - before) / 1e6 for before, after in pairwise(map(int, log.read_text().split()))]
    assert len(gaps) == 3
    for gap, delay in zip(gaps, (0.1, 0.3, 0.9), strict=True):
        assert gap >= delay * least


def test_no_more_retries_than_a_job_allows(fleet: Fleet, programs: Programs, tmp_path: Path) -> None:
    programs.ready("seeds")
    log = tmp_path / "moments"
    jobs = [
        Job(name="Moments", function="seed.moments", args=(str(log), 99), max_retries=limit, retry_delay=0.01)
        for limit in (0, 2)
    ]

    results = [wait(enqueue(job), timeout=LONG) for job in jobs]

    assert [(result.status, result.attempt) for result in results] == [(JobStatus.FAILED, 1), (JobStatus.FAILED, 3)]
    assert len(log.read_text().split()) == 4
