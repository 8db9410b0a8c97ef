"""The line about the start of a job: only where its code starts, and before the code's own lines."""

from __future__ import annotations

import logging
import threading

import pytest

from jobfleet import Fleet, Job
from jobfleet.functions.registry import Registry


@pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
def test_only_a_job_whose_code_starts_is_logged_as_started(
    redis_url: str, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobfleet.worker")
    with Fleet(redis_url, registry=registry, log_jobs=True) as fleet:
        known = registry.register(lambda: 1, name="test.known", fleet=fleet).enqueue()
        fleet.enqueue(Job("unknown", "test.unknown"))

        fleet.run_worker(burst=True)

    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if "job.started" in line] == [f"job.started job_id={known.id} function=test.known"]
    assert any("no worker knows 'test.unknown'" in line for line in lines)


def test_a_job_is_logged_as_started_before_its_code_can_log_anything(
    redis_url: str, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobfleet.worker")
    code_runs = threading.Event()
    order: list[str] = []

    class Order(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "job.started" in record.getMessage():
                order.append("code" if code_runs.wait(0.5) else "line")

    logger, handler = logging.getLogger("jobfleet.worker"), Order()
    logger.addHandler(handler)
    try:
        with Fleet(redis_url, registry=registry, log_jobs=True) as fleet:
            registry.register(code_runs.set, name="test.set", fleet=fleet).enqueue()
            fleet.run_worker(burst=True)
    finally:
        logger.removeHandler(handler)

    assert (order, code_runs.is_set()) == (["line"], True)
