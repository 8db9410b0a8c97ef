"""Row 6: `progress_callback`, stored with a TTL, published, and seen while the job runs."""

from __future__ import annotations

import threading
from pathlib import Path

import redis

from jobfleet import Fleet, Job, JobStatus, enqueue, poll, wait
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until


def test_progress_is_seen_while_the_job_runs(
    fleet: Fleet, programs: Programs, tmp_path: Path, raw: redis.Redis
) -> None:
    programs.ready("seeds")
    gate = tmp_path / "gate"
    job_id = enqueue(Job(name="Compute", function="seed.compute", args=(str(gate),)))
    heard: list[str] = []
    listener = threading.Thread(target=lambda: heard.extend(event.event for event in fleet.events(job_id)))
    listener.start()

    seen = wait_until(lambda: job if (job := poll(job_id)).progress else None, timeout=LONG, why="it reports")

    assert seen is not None
    assert (seen.status, seen.progress, seen.progress_message, seen.progress_details) == (
        JobStatus.RUNNING, 0.5, "Computing", {"rows": 7},
    )  # fmt: skip
    lane = Keyspace("jobfleet").lane_of(job_id)
    assert 0 < int(str(raw.ttl(lane.progress(job_id)))) <= fleet.config.result_ttl + 1
    wait_until(lambda: "progressed" in heard, timeout=LONG, why="it is published")
    gate.touch()
    result = wait(job_id, timeout=LONG)
    assert (result.result, result.progress, result.progress_message) == ("computed", 1.0, "Done")
    listener.join(LONG)
