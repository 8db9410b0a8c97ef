"""Rows 1 to 9: jobs, their functions, their order, their results and their errors."""

from __future__ import annotations

import time
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from jobfleet import ErrorType, InvalidJob, Job, JobStatus, Priority, cancel, enqueue, poll, wait
from tests.support.verify.stage import PATIENCE, Stage, check, expect

MEASURED = 200


@check(1, "Job: name, function, args, kwargs")
def arguments(stage: Stage) -> str:
    """Both kinds of arguments arrive."""
    result = wait(enqueue(Job(name="Sum", function="seed.add", args=(1,), kwargs={"y": 2})), timeout=PATIENCE)
    expect(result.result == 3, f"1 + 2 is {result.result}")
    return "1 + 2 = 3 by a worker"


@check(1, "Job: priority, metadata, tags, retry options")
def options(stage: Stage) -> str:
    """The function sees what was given."""
    seen: Any = stage.run(
        "seed.told", priority=Priority.HIGH, metadata={"rows": 7}, tags=["eu"], max_retries=7, retry_delay=2.5,
        retry_backoff=3.0, retry_jitter=False,
    ).result  # fmt: skip
    told = [seen[name] for name in ("metadata", "tags", "max_retries", "retry_delay", "retry_backoff", "retry_jitter")]
    expect(told == [{"rows": 7}, ["eu"], 7, 2.5, 3.0, False], f"it saw {told}")
    return "seen by the function as given"


@check(1, "Job: scheduled_at")
def scheduled(stage: Stage) -> str:
    """It is not run before."""
    at = datetime.now(UTC) + timedelta(seconds=1)
    job_id = stage.enqueue("seed.add", 1, 2, scheduled_at=at)
    expect(poll(job_id).status is JobStatus.SCHEDULED, "it is not scheduled")
    started = wait(job_id, timeout=PATIENCE).started_at
    expect(started is not None and started >= at, "it ran too early")
    return "scheduled, then run, not early"


@check(1, "Job: depends_on")
def depends(stage: Stage) -> str:
    """It waits, and is given the results."""
    parents = [stage.enqueue("seed.add", n, n, delay=0.3) for n in (1, 2)]
    child = stage.enqueue("seed.total", depends_on=parents)
    expect(poll(child).status is JobStatus.BLOCKED, "it does not wait")
    total = wait(child, timeout=PATIENCE).result
    expect(total == 6, f"2 + 4 is {total}")
    return "blocked, then 2 + 4 = 6 from its parents"


@check(1, "Job: frozen, checked with clear errors")
def frozen(stage: Stage) -> str:
    """It cannot be changed, and wrong options are named."""
    job = Job(name="x", function="seed.add")
    try:
        job.name = "y"  # type: ignore[misc]
    except FrozenInstanceError:
        pass
    else:
        expect(False, "it can be changed")
    try:
        Job(name="x", function="seed.add", max_retries=-1)
    except InvalidJob as error:
        expect(error.field == "max_retries", f"it names {error.field!r}")
        return str(error)
    raise AssertionError("max_retries=-1 is taken")


@check(2, "enqueue, poll, cancel under 10 ms")
def figures(stage: Stage) -> str:
    """The median of many calls of each."""
    times: dict[str, list[float]] = {"enqueue": [], "poll": [], "cancel": []}
    for _ in range(MEASURED):
        begun = time.perf_counter()
        job_id = enqueue(Job(name="Later", function="seed.add", args=(1, 2), delay=3600))
        enqueued = time.perf_counter()
        poll(job_id)
        polled = time.perf_counter()
        cancel(job_id)
        times["enqueue"].append(enqueued - begun)
        times["poll"].append(polled - enqueued)
        times["cancel"].append(time.perf_counter() - polled)
    middle = {name: median(values) * 1000 for name, values in times.items()}
    expect(max(middle.values()) < 10, f"medians are {middle}")
    return ", ".join(f"{name} {value:.2f} ms" for name, value in middle.items())


@check(3, "register_job_function: a name that survives a restart")
def registered(stage: Stage) -> str:
    """A lambda is found by name by the next worker."""
    job_id = stage.enqueue("seed.double", 21, delay=0.5)
    pid = stage.worker.pid
    stage.worker.close()
    stage.worker = stage.start_worker(log_format="json", metrics_port=0)
    result = wait(job_id, timeout=PATIENCE).result
    expect(result == 42, f"2 × 21 is {result}")
    return f"a lambda, run by worker {stage.worker.pid} after {pid} was killed"


@check(5, "strict priority, first in first out within")
def order(stage: Stage) -> str:
    """One slot, and jobs of all priorities in an unlucky order."""
    log, ids = stage.path(), []
    for number in range(2):
        for priority in (Priority.LOW, Priority.NORMAL, Priority.CRITICAL, Priority.HIGH):
            text = f"{priority.name} {number}"
            ids.append(stage.enqueue("seed.note", str(log), text, priority=priority, queue="ordered"))
    worker = stage.start_worker(slots=1, queues="ordered")
    for job_id in ids:
        wait(job_id, timeout=PATIENCE)
    worker.close()
    seen = log.read_text().splitlines()
    wanted = [f"{name} {number}" for name in ("CRITICAL", "HIGH", "NORMAL", "LOW") for number in range(2)]
    expect(seen == wanted, f"the order was {seen}")
    return "CRITICAL, HIGH, NORMAL, LOW; each in order"


@check(6, "progress_callback, seen while the job runs")
def progress(stage: Stage) -> str:
    """Value, message and details, before the end and after it."""
    gate = stage.path()
    job_id = stage.enqueue("seed.compute", str(gate))
    stage.until(lambda: poll(job_id).progress, "it reports")
    seen = poll(job_id)
    told = (seen.status.value, seen.progress, seen.progress_message, seen.progress_details)
    gate.touch()
    expect(told == ("running", 0.5, "Computing", {"rows": 7}), f"seen was {told}")
    expect(wait(job_id, timeout=PATIENCE).progress == 1.0, "it did not end at 1.0")
    return "50 % Computing {'rows': 7} while running"


@check(7, "JobResult: all its fields")
def result_fields(stage: Stage) -> str:
    """Of a job that was retried once."""
    one = stage.run("seed.moments", str(stage.path()), 1, retry_delay=0.05)
    known = (one.started_at, one.completed_at, one.duration)
    expect(None not in known and (one.status, one.result, one.retry_count) == (JobStatus.COMPLETED, 2, 1), str(one))
    return f"{one.status.value}, result {one.result}, {one.retry_count} retry, times and duration"


@check(8, "TRANSIENT errors are retried, PERMANENT ones are not")
def errors(stage: Stage) -> str:
    """By the exception's type, and as a function says."""
    kinds = {}
    for name in ("ValueError", "ConnectionError"):
        one = stage.run("seed.raise", name, max_retries=2)
        kinds[name] = (one.error_type, one.attempt)
    wanted = {"ValueError": (ErrorType.PERMANENT, 1), "ConnectionError": (ErrorType.TRANSIENT, 3)}
    expect(kinds == wanted, f"seen was {kinds}")
    return "ValueError: 1 run; ConnectionError: 3 runs"


@check(8, "retry_on, discard_on")
def own_errors(stage: Stage) -> str:
    """What a function says of its own exceptions."""
    busy, refused = stage.run("seed.charge", "Busy"), stage.run("seed.charge", "Refused")
    expect((busy.result, refused.attempt) == (2, 1), f"{busy} {refused}")
    return "a ValueError retried, a ConnectionError not, as told"


@check(9, "delay × backoff ^ retry, a limit a job")
def delays(stage: Stage) -> str:
    """The time between the starts of the runs."""
    log = stage.path()
    one = stage.run("seed.moments", str(log), 9, max_retries=2, retry_delay=0.2, retry_backoff=3.0)
    gaps = [(after - before) / 1e6 for before, after in pairwise(map(int, log.read_text().split()))]
    expect(one.status is JobStatus.FAILED and len(gaps) == 2, f"{one.status.value} with gaps {gaps}")
    expect(gaps[0] >= 0.2 and gaps[1] >= 0.6, f"gaps were {gaps}")
    return f"3 runs, {gaps[0]:.2f} s and {gaps[1]:.2f} s apart, then failed"


@check(9, "jitter: 50 to 100 % of the delay")
def jitter(stage: Stage) -> str:
    """A second retry may come sooner, but not at once."""
    log = stage.path()
    stage.run("seed.moments", str(log), 1, retry_delay=0.4, retry_jitter=True)
    first, second = map(int, log.read_text().split())
    gap = (second - first) / 1e6
    expect(gap >= 0.2, f"the gap was {gap}")
    return f"delay 0.4 s, run again after {gap:.2f} s"
