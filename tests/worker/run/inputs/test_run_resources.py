"""Resources of a run: opened for each run, nested, and closed in reverse order, whatever ends the run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest

from jobfleet import Fleet, Job, JobResult, JobStatus, Resource
from jobfleet.errors import InvalidJob
from jobfleet.functions.registry import Registry
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

TOLD: list[str] = []


@pytest.fixture(autouse=True)
def told() -> list[str]:
    TOLD.clear()
    return TOLD


@asynccontextmanager
async def open_pool() -> AsyncIterator[str]:
    TOLD.append("open pool")
    yield "pool"
    TOLD.append("close pool")


@contextmanager
def open_session(pool: Annotated[str, Resource(open_pool)]) -> Iterator[str]:
    TOLD.append("begin")
    try:
        yield f"session of {pool}"
    except BaseException as error:
        TOLD.append(f"rollback {type(error).__name__}")
        raise
    TOLD.append("commit")


@asynccontextmanager
async def open_unit(session: Annotated[str, Resource(open_session, scope="run")]) -> AsyncIterator[str]:
    TOLD.append("open unit")
    try:
        yield f"unit of {session}"
    finally:
        TOLD.append("close unit")


@contextmanager
def failing() -> Iterator[str]:
    yield "session"
    raise ConnectionError("the commit has failed")


Unit = Annotated[str, Resource(open_unit, scope="run")]
Session = Annotated[str, Resource(open_session, scope="run")]


async def on_loop(how: str, unit: Unit, session: Session) -> str:
    if how == "fail":
        raise OSError("no")
    while how == "linger":
        TOLD.append("lingers") if "lingers" not in TOLD else None
        await asyncio.sleep(0.01)
    return unit


def in_thread(how: str, unit: Unit, session: Session) -> str:
    if how == "fail":
        raise OSError("no")
    while how == "linger":
        TOLD.append("lingers") if "lingers" not in TOLD else None
        time.sleep(0.01)
    return unit


def run(fleet: Fleet, job: Any) -> JobResult[Any]:
    job_id = fleet.enqueue(job)
    fleet.run_worker(burst=True)
    return fleet.poll(job_id)


places = pytest.mark.parametrize("function", [on_loop, in_thread])


@places
def test_each_run_has_its_own_and_the_process_shares_what_they_need(
    fleet: Fleet, registry: Registry, function: Callable[..., Any]
) -> None:
    job = registry.register(function, name="test.unit", fleet=fleet)
    fleet.enqueue(job.job("end"))

    assert run(fleet, job.job("end")).result == "unit of session of pool"

    each = ["begin", "open unit", "close unit", "commit"]
    assert sorted(TOLD) == sorted(["open pool", *each, *each, "close pool"])
    assert (TOLD[0], TOLD[-1]) == ("open pool", "close pool")


@places
def test_an_error_reaches_them_in_reverse_order(fleet: Fleet, registry: Registry, function: Callable[..., Any]) -> None:
    result = run(fleet, registry.register(function, name="test.unit", fleet=fleet, max_retries=0).job("fail"))

    assert (result.status, result.error_class) == (JobStatus.FAILED, "OSError")
    assert TOLD == ["open pool", "begin", "open unit", "close unit", "rollback OSError", "close pool"]


@pytest.mark.parametrize("ends", ["cancel", "timeout", "hook"])
@places
def test_they_are_closed_when_the_run_is_stopped(
    fleet: Fleet, registry: Registry, working: Working, function: Callable[..., Any], ends: str
) -> None:
    timeout = 0.3 if ends == "timeout" else None
    job = registry.register(function, name="test.unit", fleet=fleet, max_retries=0, timeout=timeout)
    if ends == "hook":
        fleet.hooks.after(lambda ctx, outcome: TOLD.append("after"))

    with working():
        job_id = fleet.enqueue(job.job("linger"))
        wait_until(lambda: "lingers" in TOLD, why="it runs")
        if ends != "timeout":
            fleet.cancel(job_id, by="ann")
        result = fleet.wait(job_id, timeout=30)

    assert result.status is (JobStatus.FAILED if ends == "timeout" else JobStatus.CANCELLED)
    assert [one.split()[0] for one in TOLD if one not in ("lingers", "after")] == [
        "open", "begin", "open", "close", "rollback", "close",
    ]  # fmt: skip
    if ends == "hook":
        assert TOLD.index("after") > TOLD.index("close unit")


def test_an_error_of_a_commit_is_the_error_of_the_job(fleet: Fleet, registry: Registry) -> None:
    async def use(session: Annotated[str, Resource(failing, scope="run")]) -> str:
        return session

    result = run(fleet, registry.register(use, name="test.use", fleet=fleet, max_retries=0).job())

    assert (result.status, result.error) == (JobStatus.FAILED, "the commit has failed")


@pytest.mark.parametrize("name", ["cell.unit", "cell.unit_async"])
def test_an_isolated_process_opens_and_closes_them_too(
    fleet: Fleet, working: Working, cells: None, tmp_path: Path, name: str
) -> None:
    told = tmp_path / "told"
    with working(slots=1):
        results = [
            fleet.wait(fleet.enqueue(Job("unit", name, (str(told), how), max_retries=0)), timeout=30)
            for how in ("end", "fail")
        ]

    assert [(result.status, result.error_class) for result in results] == [
        (JobStatus.COMPLETED, None),
        (JobStatus.FAILED, "OSError"),
    ]
    assert told.read_text().split() == [
        "inner",
        "outer",
        "job",
        "close",
        "commit",
        "inner",
        "outer",
        "close",
        "rollback",
    ]


def test_a_resource_of_the_process_cannot_need_one_of_a_run(registry: Registry) -> None:
    async def use(unit: Annotated[str, Resource(open_unit)]) -> None: ...

    with pytest.raises(InvalidJob, match=r"^open_unit is opened once per process and cannot need open_session"):
        registry.register(use, name="test.use")


def test_a_batch_takes_none_of_a_run(registry: Registry) -> None:
    async def use(values: list[int], unit: Unit) -> None: ...

    with pytest.raises(InvalidJob, match=r"^A batch has many runs"):
        registry.register(use, name="test.use", batch=3)


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(InvalidJob, match=r"^scope is 'job'; give 'process' or 'run'\.$"):
        Resource(open_pool, scope="job")  # type: ignore[arg-type]
