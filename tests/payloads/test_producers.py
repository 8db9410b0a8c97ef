"""Producers with a local buffer or a durability level put large arguments into the store before the job is sent."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobfleet import AsyncFleet, BufferFull, DurabilityUnavailable, Fleet, Job, PayloadUnavailable
from jobfleet.functions.registry import Registry
from jobfleet.payloads.payloads import Payloads
from tests.client.either import Either
from tests.payloads.conftest import LARGE, objects
from tests.support.server import RedisServer
from tests.support.waiting import await_until

LONG_HEADER = {"note": "n" * 3000}
"""Metadata that alone exceed the threshold of these tests."""


@pytest.fixture(scope="module")
def durable() -> Iterator[RedisServer]:
    """A server that keeps everything when it is killed."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture(params=[Fleet, AsyncFleet], ids=["sync", "async"])
async def producer(
    request: pytest.FixtureRequest, durable: RedisServer, registry: Registry, settings: dict[str, Any]
) -> AsyncIterator[Either]:
    """A client with a buffer for three jobs. It has enqueued a job, so that it knows the queue."""
    durable.flush()
    client = Either(request.param(durable.url, registry=registry, patience=0, buffer=3, **settings))
    await client("enqueue", job("small"))
    Payloads(client.fleet.config).found()
    yield client
    await client.close()


@pytest.fixture
async def direct(producer: Either) -> AsyncIterator[Either]:
    """The same client without a buffer."""
    config = producer.fleet.config
    client = Either(
        type(producer.fleet)(
            config.url,
            registry=producer.fleet.context.registry,
            payload_store=config.payload_store,
            payload_threshold=config.payload_threshold,
        )
    )
    yield client
    await client.close()


def job(text: str = LARGE, **options: Any) -> Job[Any]:
    return Job("large", "test.repeat", (text,), **options)


async def args_of(client: Either, ids: list[str]) -> list[Any]:
    return [(await client("details", one)).args[0] for one in ids]


async def test_a_buffer_keeps_references_and_flushes_them(producer: Either, durable: RedisServer, root: Path) -> None:
    durable.kill()
    one = await producer("submit", job(LARGE + "1"))
    two, three, refused = await producer.all("enqueue_many", [job("small"), job(LARGE + "3"), job(LARGE)])

    assert [receipt.status for receipt in (one, two, three)] == ["buffered"] * 3
    assert isinstance(refused.error, BufferFull)
    with pytest.raises(BufferFull):
        await producer("enqueue", job())
    assert len(objects(root)) == 2  # nothing is put for a job that has no room
    kept = producer.fleet.buffer
    assert kept is not None
    assert all(len(one.sent.entry.envelope) < 400 for one in kept._kept.values())
    durable.restart()

    async def is_flushed() -> bool:
        return producer.fleet.buffered == 0

    await await_until(is_flushed, why="the buffer is flushed")
    assert await args_of(producer, [one.id, two.id, three.id]) == [LARGE + "1", "small", LARGE + "3"]


async def test_a_job_is_not_kept_while_the_payload_store_is_away_too(
    producer: Either, durable: RedisServer, root: Path
) -> None:
    shutil.rmtree(root)
    root.write_text("a file in place of the folder")
    durable.kill()
    try:
        with pytest.raises(PayloadUnavailable, match="setting payload_store"):
            await producer("enqueue", job())
        assert producer.fleet.buffered == 0
    finally:
        durable.restart()


async def test_a_job_whose_envelope_is_sent_after_a_long_header_is_put_once(
    producer: Either, direct: Either, root: Path
) -> None:
    ids = [(await producer("enqueue", job(metadata=LONG_HEADER)))]  # over the way of a client with a buffer
    ids += [(await direct("enqueue", job(metadata=LONG_HEADER))) for _ in range(2)]
    ids += [(await direct("enqueue", job(metadata=LONG_HEADER, durability="fsync"))) for _ in range(2)]

    assert await args_of(direct, ids) == [LARGE] * 5
    assert len(objects(root)) == 5


async def test_a_durable_job_is_put_before_it_is_sent_and_after_its_level_is_checked(
    direct: Either, root: Path
) -> None:
    with pytest.raises(DurabilityUnavailable):
        await direct("enqueue", job(durability="replicated"))
    assert objects(root) == []

    receipts = [await direct("submit", job(durability="fsync")) for _ in range(2)]  # the second knows the queue
    receipts += await direct.all("enqueue_many", [job(durability="fsync"), job("small", durability="fsync")])

    assert [one.durability for one in receipts] == ["fsync"] * 4
    assert await args_of(direct, [one.id for one in receipts]) == [LARGE] * 3 + ["small"]
    assert len(objects(root)) == 3
