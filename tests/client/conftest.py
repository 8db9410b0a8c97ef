"""A fleet with functions of its own, its two clients, and a worker that ends when nothing is left to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from jobfleet import AsyncFleet, Fleet, JobContext
from jobfleet.functions.registry import Registry
from tests.client.either import Either
from tests.support.users import UrlOf

Work = Callable[[], Awaitable[None]]


async def add(x: int, y: int) -> int:
    return x + y


def fail(message: str) -> None:
    raise RuntimeError(message)


def flaky(ctx: JobContext, times: int) -> int:
    if ctx.attempt <= times:
        raise ConnectionError(f"attempt {ctx.attempt}")
    return ctx.attempt


def steps(ctx: JobContext, n: int) -> int:
    for done in range(1, n + 1):
        ctx.progress(done / n, f"step {done}", {"done": done})
    return n


@pytest.fixture
def registry() -> Registry:
    """The functions of the fleet."""
    registry = Registry()
    registry.register(add, name="app.add")
    registry.register(fail, name="app.fail", max_retries=0)
    registry.register(flaky, name="app.flaky", retry_delay=0)
    registry.register(steps, name="app.steps", queue="bulk")
    return registry


@pytest.fixture
def fleet(redis_url: str, registry: Registry) -> Iterator[Fleet]:
    """A client that blocks, and knows the functions."""
    with Fleet(redis_url, registry=registry, patience=5) as fleet:
        yield fleet


@pytest.fixture(params=["sync", "async"])
async def client(request: pytest.FixtureRequest, redis_url: str, registry: Registry) -> AsyncIterator[Either]:
    """Either client; it knows the functions."""
    kind: type[Fleet | AsyncFleet] = Fleet if request.param == "sync" else AsyncFleet
    client = Either(kind(redis_url, registry=registry, patience=5))
    yield client
    await client.close()


@pytest.fixture
async def awaited(redis_url: str, registry: Registry) -> AsyncIterator[Either]:
    """The client from which the other one is generated, for tests of what both do alike."""
    client = Either(AsyncFleet(redis_url, registry=registry, patience=5))
    yield client
    await client.close()


@pytest.fixture
def work(fleet: Fleet, url_of: UrlOf) -> Work:
    """Let a worker do what there is to do; an operator sees whether that is all."""

    def is_left() -> bool:
        with Fleet(url_of("operator")) as operator:
            return any(queue.queued for queue in operator.queues() if queue.paused is None)

    async def work() -> None:
        await asyncio.to_thread(fleet.run_worker, burst=True)
        while await asyncio.to_thread(is_left):
            await asyncio.to_thread(fleet.run_worker, burst=True)

    return work
