"""The reads of panels: from the server of the fleet, also if the fleet has started it."""

from __future__ import annotations

from pathlib import Path

from jobfleet import Fleet, Job, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.panels.reading import Reader


def add(x: int, y: int) -> int:
    return x + y


def test_a_reader_reads_from_the_server_that_its_fleet_has_started(tmp_path: Path) -> None:
    registry = Registry()
    registry.register(add, name="test.add")
    with Fleet(f"embedded://{tmp_path}/redis", registry=registry) as fleet:
        job_id = fleet.enqueue(Job("Add", "test.add", (1, 2)))

        answer = Reader(fleet).ask(lambda reading: reading.poll(job_id))

    assert answer.problem == ""
    assert answer.value is not None
    assert answer.value.status is JobStatus.QUEUED
