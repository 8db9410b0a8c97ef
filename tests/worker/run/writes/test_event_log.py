"""The log lines of runs, when a handler of the user fails: the runs go on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from jobfleet import Fleet, JobFailed, RateLimited
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)


class Broken(logging.Handler):
    """Fails at each line about a job, as a handler without `handleError` does."""

    def __init__(self) -> None:
        super().__init__()
        self.events: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Fail."""
        event = record.getMessage().partition(" ")[0]
        if event.startswith("job."):
            self.events.add(event)
            raise LookupError("planted")


@pytest.fixture
def broken() -> Iterator[Broken]:
    """A handler of the worker's lines that fails."""
    log, handler = logging.getLogger("jobfleet.worker"), Broken()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


@contextmanager
def opened(event: threading.Event) -> Iterator[None]:
    """Set an event at the end, so that a job that waits for it does not outlive a failed test."""
    try:
        yield
    finally:
        event.set()


def test_runs_end_as_they_would(
    redis_url: str, registry: Registry, raw: redis.Redis, working: Working, broken: Broken
) -> None:
    go_on, tries = threading.Event(), iter(range(2))

    def fail() -> None:
        raise ValueError("the user's")

    def fail_once() -> int:
        if not (number := next(tries)):
            raise OSError("the first time")
        return number

    with Fleet(redis_url, registry=registry, lease=60, grace=60, retry_delay=0.05, log_jobs=True) as fleet:
        failing = registry.register(fail, name="test.fail", max_retries=0, fleet=fleet)
        retried = registry.register(fail_once, name="test.fail_once", max_retries=1, fleet=fleet)
        waiting = registry.register(go_on.wait, name="test.wait", fleet=fleet)
        handles = [failing.enqueue(), retried.enqueue()]
        lost = waiting.enqueue()
        with working(of=fleet), opened(go_on):
            with pytest.raises(JobFailed, match="the user's"):
                handles[0].result(timeout=30)
            assert handles[1].result(timeout=30) == 1
            wait_until(lambda: raw.hexists(LANE.runs, lost.id), why="it runs")
            raw.hdel(LANE.runs, lost.id)
            go_on.set()
            wait_until(lambda: "job.lost" in broken.events, why="its loss is logged")

    assert broken.events == {"job.started", "job.failed", "job.retried", "job.completed", "job.lost"}


def test_a_function_without_limits_that_a_service_refuses_is_named_once(
    redis_url: str, registry: Registry, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    runs = iter(range(9))

    def ask() -> int:
        if (number := next(runs)) < 3:
            raise RateLimited(0.01, limit="github")
        return number

    with Fleet(redis_url, registry=registry, lease=60, grace=60) as fleet:
        asking = registry.register(ask, name="test.ask_a_service", fleet=fleet)
        with working(of=fleet):
            assert asking.enqueue().result(timeout=30) == 3

    lines = [one.getMessage() for one in caplog.records if "limit.unused" in one.getMessage()]
    (line,) = lines
    assert line == (
        "limit.unused function=test.ask_a_service it raises RateLimited for 'github' and does not name this limit in "
        "its options, so only this job waits: write @job(limits=['github'])"
    )


def test_a_job_is_completed_in_the_log_only_if_redis_has_stored_that(
    redis_url: str, registry: Registry, raw: redis.Redis, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobfleet.worker")
    go_on = threading.Event()

    with Fleet(redis_url, registry=registry, lease=60, grace=60, log_jobs=True) as fleet:
        waiting = registry.register(go_on.wait, name="test.wait", fleet=fleet)
        kept, lost = waiting.enqueue(), waiting.enqueue()
        with working(of=fleet), opened(go_on):
            wait_until(lambda: raw.hlen(LANE.runs) == 2, why="both run")
            raw.hdel(LANE.runs, lost.id)  # as if another run owned the job
            go_on.set()
            wait_until(lambda: "job.lost" in caplog.text, why="its loss is logged")
            kept.wait(timeout=30)

    lines = [one.getMessage().split() for one in caplog.records]
    events = {job_id: [line[0] for line in lines if f"job_id={job_id}" in line] for job_id in (kept.id, lost.id)}
    assert events == {kept.id: ["job.started", "job.completed"], lost.id: ["job.started", "job.lost"]}


def test_the_line_of_a_job_without_a_result_reads_as_that_of_any_completed_job(
    redis_url: str, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobfleet.worker")
    with Fleet(redis_url, registry=registry, log_jobs=True) as fleet:
        function = registry.register(int, name="test.zero", fleet=fleet)
        for result_ttl in (0, 3600):
            function.options(result_ttl=result_ttl).enqueue()
        fleet.run_worker(burst=True)

    lines = [one._shown for one in caplog.records if one.getMessage().startswith("job.completed ")]  # type: ignore[attr-defined]
    assert [line.rsplit(" ", 2)[0] for line in lines] == ["completed in"] * 2
