"""Resources: opened once a process, when first asked for; closed in reverse when it drains."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, Self

import pytest

from jobfleet import Fleet, JobContext, JobStatus, Resource
from jobfleet.errors import InvalidJob
from jobfleet.functions.published import signature_of
from jobfleet.functions.registry import Registry
from jobfleet.worker.run.resources import Resources

EVENTS: list[str] = []


@pytest.fixture(autouse=True)
def events() -> list[str]:
    EVENTS.clear()
    return EVENTS


@asynccontextmanager
async def open_pool() -> AsyncIterator[str]:
    EVENTS.append("open pool")
    await asyncio.sleep(0)
    yield "pool"
    EVENTS.append("close pool")


@contextmanager
def open_file() -> Iterator[str]:
    assert threading.current_thread() is not threading.main_thread()
    EVENTS.append("open file")
    yield "file"
    EVENTS.append("close file")


async def make_number() -> int:
    EVENTS.append("make number")
    return 7


def make_text() -> str:
    EVENTS.append("make text")
    return "text"


class Client:
    """A context manager that must be made on a loop."""

    def __init__(self) -> None:
        asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        EVENTS.append("open client")
        return self

    async def __aexit__(self, *_: object) -> None:
        EVENTS.append("close client")


Pool = Annotated[str, Resource(open_pool)]


async def use_pool(k: int, pool: Annotated[str, Resource(open_pool)]) -> str:
    return f"{k} {pool}"


def use_all(
    ctx: JobContext,
    k: int,
    *,
    pool: Pool,
    file: Annotated[str, Resource(open_file)],
    number: Annotated[int, Resource(make_number)],
    text: Annotated[str, Resource(make_text)] = Resource.injected,
    client: Annotated[Any, Resource(Client)],
    progress_callback: Any = None,
) -> list[Any]:
    progress_callback(0.5)
    assert ctx.attempt == 1
    return [k, pool, file, number, text, type(client).__name__]


def test_a_function_is_given_what_it_asks_for(fleet: Fleet, registry: Registry) -> None:
    handles = [registry.register(use_pool, name="test.pool", fleet=fleet).enqueue(k) for k in range(20)]
    handles.append(registry.register(use_all, name="test.all", fleet=fleet).enqueue(3))

    fleet.run_worker(burst=True)

    assert [handle.poll().result for handle in handles[:-1]] == [f"{k} pool" for k in range(20)]
    assert handles[-1].poll().result == [3, "pool", "file", 7, "text", "Client"]
    opened = [event for event in EVENTS if not event.startswith("close")]
    assert sorted(opened) == ["make number", "make text", "open client", "open file", "open pool"]
    assert EVENTS[len(opened) :] == ["close client", "close file", "close pool"]


def test_a_failed_opening_fails_that_job_and_is_tried_again(fleet: Fleet, registry: Registry) -> None:
    tries: list[int] = []

    async def fragile() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("not yet")
        return "open"

    def use(value: Any) -> Any:
        return value

    use.__annotations__["value"] = Annotated[str, Resource(fragile)]
    handle = registry.register(use, name="test.fragile", fleet=fleet, retry_delay=0).enqueue()

    fleet.run_worker(burst=True)

    result = handle.poll()
    assert (result.status, result.result, result.retry_count) == (JobStatus.COMPLETED, "open", 1)
    assert len(tries) == 2


def test_a_test_gives_its_own(fleet: Fleet, registry: Registry) -> None:
    handle = registry.register(use_pool, name="test.pool", fleet=fleet).enqueue(1)

    with Resource.override(open_pool, "fake"):
        fleet.run_worker(burst=True)

    assert handle.poll().result == "1 fake"
    assert EVENTS == []


def test_a_timeout_reaches_a_job_that_waits_for_its_resource(fleet: Fleet, registry: Registry) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    def use(value: Any) -> None: ...

    use.__annotations__["value"] = Annotated[str, Resource(never)]
    handle = registry.register(use, name="test.never", fleet=fleet, timeout=0.2, max_retries=0).enqueue()

    fleet.run_worker(burst=True)

    assert handle.poll().error == "timed out after 0.2 s"


def test_callers_do_not_see_resources(fleet: Fleet, registry: Registry) -> None:
    function = registry.register(use_all, name="test.all", fleet=fleet)

    assert signature_of(function) == "(k: int) -> list[Any]"
    assert function.injection.context == "ctx"
    assert [name for name, _ in function.injection.resources] == ["pool", "file", "number", "text", "client"]


def test_a_resource_before_the_callers_arguments_is_refused(registry: Registry) -> None:
    def wrong(pool: Annotated[str, Resource(open_pool)], k: int) -> None: ...

    wrong.__annotations__["pool"] = Annotated[str, Resource(open_pool)]
    with pytest.raises(InvalidJob, match="put the resource 'pool' behind 'k'"):
        registry.register(wrong, name="test.wrong")


def test_a_resource_whose_name_cannot_be_read_is_refused(registry: Registry) -> None:
    def local() -> None: ...

    def wrong(pool: Annotated[str, Resource(local)]) -> None: ...

    with pytest.raises(InvalidJob, match=r"cannot read .* of 'pool'"):
        registry.register(wrong, name="test.wrong")


def test_one_annotation_that_cannot_be_read_leaves_the_others_alone(registry: Registry) -> None:
    def odd(ctx: JobContext, x: Any, pool: Any) -> None: ...

    odd.__annotations__ = {"ctx": "JobContext", "x": "Nowhere", "pool": "Annotated[str, Resource(open_pool)]"}
    injection = registry.register(odd, name="test.odd").injection

    assert (injection.context, [name for name, _ in injection.resources]) == ("ctx", ["pool"])


def test_only_what_can_be_called_is_a_factory() -> None:
    with pytest.raises(InvalidJob, match="Resource takes a function that opens it, not 5"):
        Resource(5)  # type: ignore[arg-type]


# The class alone


async def test_who_asks_at_the_same_time_shares_one_opening() -> None:
    resources = Resources()

    found = await asyncio.gather(*[resources.open(Resource(open_pool)) for _ in range(10)])
    await resources.close(1.0)

    assert found == ["pool"] * 10
    assert EVENTS == ["open pool", "close pool"]


async def test_who_is_cancelled_while_it_opens_harms_nobody_else() -> None:
    gate = asyncio.Event()

    async def slow() -> str:
        await gate.wait()
        return "there"

    resources = Resources()
    first, second = [asyncio.ensure_future(resources.open(Resource(slow))) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    gate.set()

    assert await second == "there"
    assert first.cancelled()
    await resources.close(1.0)


async def test_a_closing_that_fails_or_hangs_is_logged_and_the_others_are_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @asynccontextmanager
    async def bad() -> AsyncIterator[None]:
        yield
        raise RuntimeError("no luck")

    @asynccontextmanager
    async def endless() -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    resources = Resources()
    for factory in (open_pool, bad, endless):
        await resources.open(Resource(factory))

    started = time.monotonic()
    with caplog.at_level(logging.ERROR):
        await resources.close(0.2)

    assert EVENTS == ["open pool", "close pool"]
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "endless it took too long" in told
    assert "bad RuntimeError: no luck" in told
    assert time.monotonic() - started < 30


async def test_it_is_closed_in_the_task_that_opened_it() -> None:
    tasks: list[Any] = []

    @asynccontextmanager
    async def scoped() -> AsyncIterator[None]:
        tasks.append(asyncio.current_task())
        yield
        tasks.append(asyncio.current_task())

    resources = Resources()
    await resources.open(Resource(scoped))
    await resources.close(1.0)

    assert tasks[0] is tasks[1]
