"""Row 10: dead letters: looked at, and retried by hand, from Python and on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from jobfleet import Fleet, Job, JobStatus, enqueue, get_job_manager, poll, wait
from tests.support.fleet import LONG, ROOT, Programs
from tests.support.waiting import wait_until


def jobfleet(url: str, *arguments: str) -> str:
    """What the command line prints."""
    done = subprocess.run(
        [sys.executable, "-m", "jobfleet", *arguments], cwd=ROOT, env={**os.environ, "JOBFLEET_URL": url},
        capture_output=True, text=True, timeout=LONG, check=True,
    )  # fmt: skip
    return done.stdout


def test_a_dead_letter_is_looked_at_and_retried_by_hand(fleet: Fleet, programs: Programs, redis_url: str) -> None:
    programs.ready("seeds")
    job_id = enqueue(Job(name="Raise", function="seed.raise", args=("ValueError",)))
    assert wait(job_id, timeout=LONG).status is JobStatus.FAILED

    letter = fleet.letter(job_id)
    assert (letter.job.error, letter.reason, letter.args) == ("no luck", "error", ("ValueError",))
    assert [row["id"] for row in json.loads(jobfleet(redis_url, "-o", "json", "dead", "ls"))] == [job_id]
    assert "ValueError: no luck" in jobfleet(redis_url, "dead", "show", job_id)

    assert get_job_manager().retry_dead_letter(job_id, by="ann") is True
    wait_until(lambda: poll(job_id).status is JobStatus.FAILED, timeout=LONG, why="it has failed again")
    jobfleet(redis_url, "dead", "replay", job_id, "--yes")
    wait_until(lambda: poll(job_id).status is JobStatus.FAILED, timeout=LONG, why="it has failed once more")
    assert len(fleet.letter(job_id).history) >= 1
    jobfleet(redis_url, "dead", "purge", job_id, "--yes")
    assert fleet.dead() == []
