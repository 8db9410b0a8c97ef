"""What real workers write to their logs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from jobfleet import Fleet, Job
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until

OF_A_JOB = ("job_id", "queue", "function", "attempt", "fence", "worker", "correlation_id", "user")


def lines_of(text: str) -> list[dict[str, Any]]:
    """Every line there is; all of them have to be objects."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", ["loop", "thread", "process"])
def test_json_lines_of_a_job_say_whose_they_are(programs: Programs, fleet: Fleet, name: str) -> None:
    worker = programs.ready("talkers", log_format="json", verbose=1)

    job_id = fleet.enqueue(Job("talk", f"talk.{name}", user="ann", correlation_id="req-7"))
    result = fleet.wait(job_id, timeout=LONG)
    wait_until(lambda: '"job.completed"' in worker.said, timeout=LONG, why="its end is logged")

    lines = [line for line in lines_of(worker.said) if line.get("job_id") == job_id]
    said, *_ = [line for line in lines if line["logger"].startswith("jobfleet.job")]
    assert {field: said[field] for field in OF_A_JOB} == {
        "job_id": job_id,
        "queue": "default",
        "function": f"talk.{name}",
        "attempt": 1,
        "fence": result.fence,
        "worker": result.worker,
        "correlation_id": "req-7",
        "user": "ann",
    }
    events = [line for line in lines if line["logger"] == "jobfleet.worker"]
    assert sorted(line["event"] for line in events) == ["job.completed", "job.started"]
    assert [line["user"] for line in events] == ["ann", "ann"]


def test_lines_of_the_users_own_loggers_are_json_too(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("talkers", log_format="json")

    job_id = fleet.enqueue(Job("talk", "talk.loop"))
    fleet.wait(job_id, timeout=LONG)
    wait_until(lambda: '"shop"' in worker.said, timeout=LONG, why="it is written")

    (line,) = [line for line in lines_of(worker.said) if line["logger"] == "shop"]
    assert (line["message"], line["job_id"]) == ("a \x1b[31mred\nline", job_id)
    assert [line["basket"] for line in lines_of(worker.said) if "basket" in line] == [7]


def test_a_failure_is_one_json_line_and_cannot_forge_a_plain_one(programs: Programs, fleet: Fleet) -> None:
    workers = [programs.ready("talkers", log_format=form, queues=form) for form in ("json", "plain")]
    ids = [fleet.enqueue(Job("talk", "talk.fail", queue=form)) for form in ("json", "plain")]
    for worker, job_id in zip(workers, ids, strict=True):
        fleet.wait(job_id, timeout=LONG)
        worker.await_line("job.failed")

    (line,) = [line for line in lines_of(workers[0].said) if line.get("event") == "job.failed"]
    assert (line["job_id"], line["queue"], line["function"]) == (ids[0], "json", "talk.fail")
    assert all(re.match(r"\d\d:\d\d:\d\d [A-Z]+ |    ", line) for line in workers[1].said.splitlines())
