"""What real workers write to their logs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, Job
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
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
    assert (line["level"], line["error_class"], line["attempt"]) == ("ERROR", "ValueError", 1)
    assert line["error"].startswith("no luck")
    assert line["traceback"].startswith("Traceback (most recent call last):")
    assert "jobfleet/worker" not in line["traceback"]
    assert all(re.match(rf"{TIME} [A-Z]+ |    ", line) for line in workers[1].said.splitlines())


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_traceback_is_logged_once_and_at_each_retry_only_with_verbose(
    programs: Programs, fleet: Fleet, verbose: int
) -> None:
    worker = programs.ready("talkers", log_format="json", verbose=verbose)

    job_id = fleet.enqueue(Job("talk", "talk.flaky", max_retries=2, retry_delay=0.01))
    fleet.wait(job_id, timeout=LONG)
    worker.await_line("job.failed")

    lines = [line for line in lines_of(worker.said) if line.get("event") in ("job.retried", "job.failed")]
    assert [(line["event"], line["level"], line["attempt"]) for line in lines] == [
        ("job.retried", "WARNING", 1), ("job.retried", "WARNING", 2), ("job.failed", "ERROR", 3),
    ]  # fmt: skip
    assert [(line["error"], line["error_class"]) for line in lines] == [("bank is away", "ConnectionError")] * 3
    assert ["traceback" in line for line in lines] == [bool(verbose), bool(verbose), True]


@pytest.mark.parametrize("name", ["talk.fail", "talk.fail_apart"])
def test_handlers_of_the_users_root_logger_get_final_failures_with_their_exception(
    programs: Programs, fleet: Fleet, tmp_path: Path, name: str
) -> None:
    worker = programs.ready("trackers")
    job_id = fleet.enqueue(Job("talk", name))
    fleet.wait(job_id, timeout=LONG)

    wait_until((tmp_path / "tracked").exists, timeout=LONG, why="the tracker opens its file")
    said = wait_until((tmp_path / "tracked").read_text, timeout=LONG, why="the tracker has it")
    seen = said.splitlines()
    assert len(seen) == 1, seen
    assert re.fullmatch(rf"ERROR jobfleet\.worker \w+ job\.failed job_id={job_id} .*", seen[0])
    assert worker.said.count("job.failed") == 1


def test_starts_and_ends_are_logged_where_asked_for_and_nowhere_else(programs: Programs, fleet: Fleet) -> None:
    workers = {on: programs.ready("talkers", queues=f"q{on}", log_jobs=on) for on in (0, 1)}
    for on in workers:
        fleet.wait(fleet.enqueue(Job("talk", "talk.loop", queue=f"q{on}")), timeout=LONG)

    workers[1].await_line("job.completed")
    assert re.search(r" INFO    job\.started job_id=\S+ function=talk\.loop", workers[1].said)
    assert re.search(r" INFO    job\.completed job_id=\S+ function=talk\.loop duration=\d", workers[1].said)
    assert "job.started" not in workers[0].said


def test_a_plain_line_of_a_users_logger_names_its_job(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("talkers")

    job_id = fleet.enqueue(Job("talk", "talk.loop"))
    fleet.wait(job_id, timeout=LONG)

    worker.await_line(f"WARNING job_id={job_id} function=talk.loop attempt=1 shop: ")
