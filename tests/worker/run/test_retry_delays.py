"""Retries whose delays come from a list or a function, and retries that time bounds, in a worker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobContext, JobHandle, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.model.result import ReasonCode
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

HOUR = 3600.0
LISTS: dict[str, Any] = {"numbers": [HOUR, 2 * HOUR], "texts": ["1h", "120m"], "both": ("60m", 2 * HOUR)}


def fail() -> None:
    raise ConnectionError("no answer")


def retried(fleet: Fleet, handle: JobHandle[Any], number: int) -> float:
    """Wait for a retry; return its delay, rounded up to half hours, because some time has passed since its start."""
    wait_until(
        lambda: (job := handle.poll()).status is JobStatus.RETRYING and job.retry_count == number, why="it is retried"
    )
    reason = next(one for one in fleet.explain(handle.id).reasons if one.code is ReasonCode.RETRYING)
    left = reason.facts["due_in"]
    assert isinstance(left, float)
    return -(-left // 1800) * 1800


def test_each_retry_waits_for_its_delay_of_the_list(fleet: Fleet, registry: Registry, working: Working) -> None:
    handles: dict[str, JobHandle[Any]] = {}
    for name, delays in LISTS.items():
        given: dict[str, Any] = {"retry_delay": delays, "max_retries": 9}
        handles[f"{name} of the decorator"] = registry.register(
            fail, name=f"test.{name}", fleet=fleet, **given
        ).enqueue()
        bare = registry.register(fail, name=f"test.bare_{name}", fleet=fleet)
        handles[f"{name} of the job"] = bare.options(**given).enqueue()

    with working():
        for number, delay in enumerate((HOUR, 2 * HOUR, 2 * HOUR), start=1):
            found = {name: retried(fleet, handle, number) for name, handle in handles.items()}
            assert found == dict.fromkeys(handles, delay)
            for handle in handles.values():
                handle.reschedule(delay=0)


@pytest.mark.parametrize("name", ["on_loop", "in_thread"])
def test_a_function_of_the_worker_chooses_the_delay(
    fleet: Fleet, registry: Registry, working: Working, name: str
) -> None:
    calls: list[tuple[int, str]] = []

    def delay_of(number: int, error: BaseException) -> str:
        calls.append((number, f"{type(error).__name__}: {error}"))
        return f"{number}h"

    async def on_loop() -> None:
        fail()

    functions: dict[str, Callable[..., Any]] = {"on_loop": on_loop, "in_thread": fail}
    made = registry.register(functions[name], name="test.fail", fleet=fleet, retry_delay=delay_of)
    with working():
        handle = made.enqueue()

        assert retried(fleet, handle, 1) == HOUR
        handle.reschedule(delay=0)
        assert retried(fleet, handle, 2) == 2 * HOUR

    assert calls == [(1, "ConnectionError: no answer"), (2, "ConnectionError: no answer")]


def test_a_function_gets_the_error_in_the_process_of_an_isolated_job(
    fleet: Fleet, working: Working, cells: None
) -> None:
    handle = fleet.handle_of(Job("patient", "cell.patient"))
    with working():
        assert retried(fleet, handle, 1) == HOUR


def broken(number: int, error: BaseException) -> float:
    raise KeyError(number)


def test_a_broken_function_costs_no_job_and_is_reported_once(
    fleet: Fleet, registry: Registry, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    kinds: dict[str, Any] = {
        "raises": broken, "text": lambda *_: "soon", "nothing": lambda *_: None, "negative": lambda *_: -1,
        "nan": lambda *_: float("nan"), "list": lambda *_: [5],
    }  # fmt: skip
    made = {
        kind: registry.register(fail, name=f"test.{kind}", fleet=fleet, retry_delay=delay_of)
        for kind, delay_of in kinds.items()
    }
    handles = [(kind, function.enqueue()) for kind, function in made.items() for _ in range(3)]

    with caplog.at_level(logging.ERROR), working():
        attempts = [(kind, handle.wait(timeout=30).attempt) for kind, handle in handles]

    assert attempts == [(kind, 4) for kind, _ in handles]
    reports = [one for one in caplog.records if "retry_delay_failed" in one.getMessage()]
    for kind in kinds:
        assert len([one for one in reports if f"function=test.{kind} retry=1" in one.getMessage()]) == 1
    assert len(reports) == len(kinds)
    assert all(one.exc_info is not None for one in reports)


def test_a_function_that_ends_the_program_costs_no_job(fleet: Fleet, registry: Registry, working: Working) -> None:
    def delay_of(_number: int, _error: BaseException) -> float:
        raise SystemExit(3)

    handle = registry.register(fail, name="test.fail", fleet=fleet, retry_delay=delay_of).enqueue()

    with working():
        assert handle.wait(timeout=30).attempt == 4


def test_a_job_that_only_time_bounds_is_retried_more_often_than_by_default(fleet: Fleet, registry: Registry) -> None:
    runs: list[int] = []

    def late() -> int:
        runs.append(1)
        if len(runs) < 12:
            fail()
        return len(runs)

    handle = registry.register(late, name="test.late", fleet=fleet, retry_for="1d", retry_delay=0).enqueue()

    fleet.run_worker(burst=True)

    assert handle.poll().result == 12


@pytest.mark.parametrize("where", ["decorator", "job"])
def test_a_retry_that_would_be_due_too_late_is_not_made(
    fleet: Fleet, registry: Registry, working: Working, where: str
) -> None:
    given: dict[str, Any] = {"retry_for": "1d", "retry_delay": ["1h", "23h", "25h"]}
    made = registry.register(fail, name="test.fail", fleet=fleet, **given if where == "decorator" else {})
    with working():
        handle = made.options(**{} if where == "decorator" else given).enqueue()
        assert retried(fleet, handle, 1) == HOUR
        handle.reschedule(delay=0)
        assert retried(fleet, handle, 2) == 23 * HOUR
        until = next(one for one in fleet.explain(handle.id).reasons if one.code is ReasonCode.RETRYING)
        assert "Waiting for retry 2, due in 23 h;" in until.text
        assert "No retry is due after " in until.text
        handle.reschedule(delay=0)

        found = handle.wait(timeout=30)

    assert (found.status, found.attempt, found.error) == (JobStatus.FAILED, 3, "no answer")


def test_the_number_of_retries_may_end_before_the_time(fleet: Fleet, registry: Registry) -> None:
    handle = registry.register(
        fail, name="test.fail", fleet=fleet, retry_for="1d", max_retries=1, retry_delay=0
    ).enqueue()

    fleet.run_worker(burst=True)

    assert (handle.poll().status, handle.poll().attempt) == (JobStatus.FAILED, 2)


def test_the_time_may_end_before_the_number_of_retries(fleet: Fleet, registry: Registry) -> None:
    handle = registry.register(
        fail, name="test.fail", fleet=fleet, retry_for=60, max_retries=5, retry_delay=[90]
    ).enqueue()

    fleet.run_worker(burst=True)

    assert (handle.poll().status, handle.poll().attempt) == (JobStatus.FAILED, 1)


def test_the_time_of_a_replayed_job_begins_again(fleet: Fleet, registry: Registry, working: Working) -> None:
    made = registry.register(fail, name="test.fail", fleet=fleet, retry_for="2h", retry_delay=["1h", "3h"])
    with working():
        handle = made.enqueue()
        assert retried(fleet, handle, 1) == HOUR
        handle.reschedule(delay=0)
        assert handle.wait(timeout=30).status is JobStatus.FAILED

        fleet.replay(handle.id)

        assert retried(fleet, handle, 1) == HOUR


def test_the_job_of_a_context_has_the_options(fleet: Fleet, registry: Registry) -> None:
    def told(ctx: JobContext) -> list[Any]:
        return [ctx.job.retry_delay, ctx.job.retry_for]

    registry.register(told, name="test.told")
    job_id = fleet.enqueue(Job("x", "test.told", retry_delay=[1, "2s"], retry_for="1m"))

    fleet.run_worker(burst=True)

    assert fleet.poll(job_id).result == [(1.0, 2.0), 60.0]
