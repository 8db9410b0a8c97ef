"""Row 16: structured logs with correlation ids; an object of settings."""

from __future__ import annotations

import json

from jobfleet import Fleet, Job, JobConfig, JobManager, enqueue, wait
from tests.support.fleet import LONG, Programs


def test_a_jobs_lines_carry_its_correlation_id(fleet: Fleet, programs: Programs) -> None:
    worker = programs.ready("seeds", log_format="json")

    result = wait(enqueue(Job(name="Told", function="seed.told", correlation_id="req-7", user="ann")), timeout=LONG)

    assert isinstance(result.result, dict)
    assert (result.correlation_id, result.result["correlation_id"]) == ("req-7", "req-7")
    worker.await_line("looking around")
    (line,) = [row for row in map(json.loads, worker.said.splitlines()) if row["message"] == "looking around"]
    assert (line["job_id"], line["function"], line["queue"], line["attempt"], line["user"], line["correlation_id"]) == (
        result.id, "seed.told", "default", 1, "ann", "req-7",
    )  # fmt: skip


def test_an_object_of_settings(redis_url: str) -> None:
    config = JobConfig(url=redis_url, slots=3, result_ttl=60, grace=2, retry_delay=0.5)

    manager = JobManager(config)
    manager.start()
    (worker,) = manager.fleet.workers()
    manager.shutdown()

    assert (manager.fleet.config, worker.slots) == (config, 3)
    manager.fleet.close()
