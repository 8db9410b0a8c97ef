"""Which queues a worker serves."""

from __future__ import annotations

import logging

import pytest

from jobfleet import Fleet, Job
from jobfleet.functions.registry import Registry
from tests.support.waiting import wait_until
from tests.worker.conftest import Working


def served(fleet: Fleet) -> list[str]:
    """What the one worker says that it serves."""
    return [queue for worker in fleet.workers() for queue in worker.queues]


def test_default_is_not_served_where_no_function_belongs_to_it(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    registry.register(len, name="test.len", fleet=fleet, queue="special")

    with working():
        wait_until(fleet.workers, timeout=30, why="it is there")
        assert served(fleet) == ["special"]


def test_a_function_without_a_queue_belongs_to_default(fleet: Fleet, registry: Registry, working: Working) -> None:
    registry.register(len, name="test.len", fleet=fleet, queue="special")
    registry.register(abs, name="test.abs", fleet=fleet)

    with working():
        wait_until(fleet.workers, timeout=30, why="it is there")
        assert served(fleet) == ["special", "default"]


def test_a_function_that_is_registered_later_is_served(fleet: Fleet, registry: Registry, working: Working) -> None:
    registry.register(len, name="test.len", fleet=fleet, queue="special")

    with working():
        wait_until(fleet.workers, timeout=30, why="it is there")
        late = registry.register(abs, name="test.abs", fleet=fleet)
        assert late.enqueue(-3).result(timeout=30) == 3


def test_a_plain_function_of_the_program_belongs_to_default(fleet: Fleet, working: Working) -> None:
    with working():
        job_id = fleet.enqueue(Job("plain", sorted, ([2, 1],)))
        assert fleet.wait(job_id, timeout=30).result == [1, 2]


def test_a_worker_without_functions_serves_what_it_is_told(
    fleet: Fleet, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    with working(queues=("mail",)):
        wait_until(fleet.workers, timeout=30, why="it is there")
        assert served(fleet) == ["mail"]
    assert "worker.idle" not in caplog.text


def test_a_worker_without_functions_says_that_it_serves_nothing(
    fleet: Fleet, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), working():
        wait_until(fleet.workers, timeout=30, why="it is there")
        assert served(fleet) == []
    assert "decorate one with @job, or name queues with -Q" in caplog.text
