"""Output streams: what a job emits is read in order by anybody, while it runs and afterwards."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from jobfleet import Chunk, EncodingError, Fleet, InvalidJob, JobContext, JobNotFound, JobStatus
from jobfleet.codec import encode
from jobfleet.functions.registry import Registry
from jobfleet.operations.jobs.poll import StreamReading
from jobfleet.store.calls.run import StoredChunk
from jobfleet.store.keys import Keyspace
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
VALUES: list[Any] = ["text", "", "ünïcode 🎉", b"\x00raw", {"delta": ["a", 1.5, None]}, 7, NOON]


def values(chunks: Iterator[Chunk]) -> list[Any]:
    return [chunk.value for chunk in chunks]


def enqueued(fleet: Fleet, registry: Registry, function: Any, *args: Any, **options: Any) -> Any:
    return registry.register(function, name=f"test.{function.__name__}", fleet=fleet, **options).enqueue(*args)


async def on_loop(ctx: JobContext) -> None:
    for value in VALUES:
        await ctx.emit(value)


def in_thread(ctx: JobContext) -> None:
    for value in VALUES:
        ctx.emit_sync(value)


@pytest.mark.parametrize("function", [on_loop, in_thread])
def test_what_a_job_emits_is_read_in_order(fleet: Fleet, registry: Registry, function: Any) -> None:
    handle = enqueued(fleet, registry, function)

    fleet.run_worker(burst=True)

    chunks = list(handle.stream())
    assert [chunk.value for chunk in chunks] == VALUES
    assert [chunk.number for chunk in chunks] == list(range(1, len(VALUES) + 1))
    assert {chunk.epoch for chunk in chunks} == {handle.poll().fence}
    assert not any(chunk.dropped or chunk.is_restart for chunk in chunks)


def test_a_reader_continues_after_any_chunk(fleet: Fleet, registry: Registry) -> None:
    handle = enqueued(fleet, registry, in_thread)
    fleet.run_worker(burst=True)
    whole = list(handle.stream())

    for at, chunk in enumerate(whole, start=1):
        assert list(handle.stream(chunk.position)) == whole[at:]
    assert list(handle.stream(tail=2)) == whole[-2:]
    assert list(handle.stream(whole[-2].position, tail=9)) == whole[-1:]


def test_chunks_are_read_while_the_job_runs(fleet: Fleet, registry: Registry, working: Working) -> None:
    gate = threading.Event()

    def slow(ctx: JobContext) -> None:
        ctx.emit_sync("one")
        assert gate.wait(60)
        ctx.emit_sync("two")

    handle = enqueued(fleet, registry, slow)
    seen: list[Any] = []

    def follow() -> None:
        with Fleet(fleet.config.url) as other:
            seen.extend(chunk.value for chunk in other.stream(handle.id))

    follower = threading.Thread(target=follow)
    follower.start()
    with working():
        wait_until(lambda: seen == ["one"], timeout=30, why="the first chunk is seen while the job runs")
        assert values(handle.stream(follow=False)) == ["one"]
        gate.set()
        follower.join(30)

    assert seen == ["one", "two"]
    assert handle.poll().status is JobStatus.COMPLETED


def test_each_run_is_an_epoch_that_readers_see(fleet: Fleet, registry: Registry) -> None:
    def flaky(ctx: JobContext) -> None:
        ctx.emit_sync(f"try {ctx.attempt}")
        ctx.emit_sync("more")
        if ctx.attempt < 3:
            raise ConnectionError("again")

    handle = enqueued(fleet, registry, flaky, retry_delay=0)

    fleet.run_worker(burst=True)

    chunks = list(handle.stream())
    assert [(one.value, one.number, one.is_restart) for one in chunks] == [
        ("try 1", 1, False), ("more", 2, False), ("try 2", 1, True), ("more", 2, False), ("try 3", 1, True),
        ("more", 2, False),
    ]  # fmt: skip
    assert [one.epoch for one in chunks] == sorted(one.epoch for one in chunks)
    assert list(handle.stream(chunks[1].position)) == chunks[2:]


def test_a_replayed_job_continues_its_stream(fleet: Fleet, registry: Registry) -> None:
    def fails(ctx: JobContext) -> None:
        ctx.emit_sync("tried")
        raise ValueError("bad")

    handle = enqueued(fleet, registry, fails)
    fleet.run_worker(burst=True)
    fleet.replay(handle.id)

    fleet.run_worker(burst=True)

    assert [(chunk.number, chunk.is_restart) for chunk in handle.stream()] == [(1, False), (1, True)]


def test_the_last_chunks_are_kept_and_readers_see_how_many_were_dropped(redis_url: str, registry: Registry) -> None:
    def babble(ctx: JobContext) -> None:
        for n in range(2500):
            ctx.emit_sync(n)

    with Fleet(redis_url, registry=registry, stream_chunks=10) as fleet:
        handle = enqueued(fleet, registry, babble)

        fleet.run_worker(burst=True)

        chunks = list(handle.stream())
        assert [chunk.value for chunk in chunks] == list(range(2490, 2500))
        assert [chunk.dropped for chunk in chunks] == [2490] + [0] * 9
        assert next(handle.stream(f"{chunks[0].epoch}-100-100")).dropped == 2390
        assert next(handle.stream(tail=1)).dropped == 0


def test_a_long_stream_is_whole(redis_url: str, registry: Registry) -> None:
    async def talk(ctx: JobContext) -> None:
        await asyncio.gather(*[chatter(ctx, speaker) for speaker in range(3)])

    async def chatter(ctx: JobContext, speaker: int) -> None:
        for n in range(2000):
            await ctx.emit((speaker, n))

    with Fleet(redis_url, registry=registry) as fleet:
        handle = enqueued(fleet, registry, talk)

        fleet.run_worker(burst=True)

        found = values(handle.stream())
        for speaker in range(3):
            assert [n for who, n in found if who == speaker] == list(range(2000))


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        ("x" * 65_536, r"chunk: 65,541 bytes, the limit is 65,536; store it elsewhere and pass a reference\."),
        (object(), "chunk: object"),
    ],
)
def test_a_chunk_that_cannot_be_sent_is_refused_with_the_reason(
    fleet: Fleet, registry: Registry, chunk: object, message: str
) -> None:
    def emits(ctx: JobContext) -> None:
        with pytest.raises(EncodingError, match=message):
            ctx.emit_sync(chunk)
        ctx.emit_sync("fine")

    handle = enqueued(fleet, registry, emits)

    fleet.run_worker(burst=True)

    assert handle.poll().status is JobStatus.COMPLETED
    assert values(handle.stream()) == ["fine"]


def test_each_kind_of_job_has_a_method_of_its_own(fleet: Fleet, registry: Registry) -> None:
    async def wrong_on_loop(ctx: JobContext) -> None:
        ctx.emit_sync("x")

    def wrong_in_thread(ctx: JobContext) -> None:
        ctx.emit("x")  # type: ignore[unused-coroutine]  # that is the mistake

    handles = [enqueued(fleet, registry, function, max_retries=0) for function in (wrong_on_loop, wrong_in_thread)]

    fleet.run_worker(burst=True)

    first, second = (handle.poll().error for handle in handles)
    assert "ctx.emit_sync would block the event loop" in first
    assert "ctx.emit is awaited in an async def job" in second


def test_a_cancelled_job_is_stopped_by_its_next_chunk(fleet: Fleet, registry: Registry, working: Working) -> None:
    started = threading.Event()

    def endless(ctx: JobContext) -> None:
        while True:
            ctx.emit_sync("again")
            started.set()

    handle = enqueued(fleet, registry, endless)
    with working():
        assert started.wait(30)
        fleet.cancel(handle.id)

        assert handle.wait(30).status is JobStatus.CANCELLED
    assert values(handle.stream(tail=1)) == ["again"]


def test_a_stream_is_kept_as_long_as_the_result_and_for_its_readers_at_least_a_minute(
    fleet: Fleet, registry: Registry, raw: Any
) -> None:
    def fine(ctx: JobContext) -> None:
        ctx.emit_sync("x")

    def brief(ctx: JobContext) -> None:
        ctx.emit_sync("x")

    def bad(ctx: JobContext) -> None:
        ctx.emit_sync("x")
        raise ValueError("bad")

    completed = enqueued(fleet, registry, fine, result_ttl=600)
    short = enqueued(fleet, registry, brief, result_ttl=0)
    failed = enqueued(fleet, registry, bad)

    fleet.run_worker(burst=True)

    assert 590 < raw.ttl(LANE.chunks(completed.id)) <= 600
    assert 50 < raw.ttl(LANE.chunks(short.id)) <= 60
    assert values(short.stream()) == ["x"]
    assert 7 * 86400 - 60 < raw.ttl(LANE.chunks(failed.id)) <= 7 * 86400


def test_a_forgotten_job_has_no_stream(fleet: Fleet, registry: Registry, raw: Any) -> None:
    handle = enqueued(fleet, registry, in_thread)
    fleet.run_worker(burst=True)

    fleet.forget(handle.id)

    assert not raw.exists(LANE.chunks(handle.id))
    with pytest.raises(JobNotFound):
        next(handle.stream())


def test_wrong_arguments_of_a_reader_name_the_field(fleet: Fleet) -> None:
    for after in ("", "7-1", "x-y-z", 7, b"7-1-1"):
        with pytest.raises(InvalidJob, match=r"after is .*; give the position of a Chunk, or None") as error:
            fleet.stream("default.0.a", after)  # type: ignore[arg-type]
        assert error.value.field == "after"
    with pytest.raises(InvalidJob, match="tail"):
        fleet.stream("default.0.a", tail=0)
    with pytest.raises(JobNotFound):
        next(fleet.stream("no id"))


def test_a_context_without_a_worker_records_chunks() -> None:
    ctx = JobContext.for_test()

    in_thread(ctx)
    asyncio.run(on_loop(ctx))

    assert ctx.port.emitted == VALUES * 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("after", "stored", "dropped"),
    [
        (None, [(7, 1, 1), (7, 2, 2), (7, 3, 3)], [0, 0, 0]),
        (None, [(7, 3, 3), (7, 4, 4)], [2, 0]),
        (None, [(7, 1, 1), (7, 4, 2), (7, 5, 3)], [0, 2, 0]),
        ("7-3-3", [(7, 4, 2), (7, 7, 3)], [0, 2]),
        (None, [(7, 1, 1), (9, 1, 2), (9, 2, 3)], [0, 0, 0]),
        (None, [(7, 1, 1), (9, 3, 2)], [0, 2]),
        (None, [(7, 1, 1), (9, 2, 5)], [0, 3]),
    ],
    ids=["none", "trimmed", "lost", "lost-after-a-position", "a-run", "lost-in-a-run", "trimmed-over-runs"],
)
def test_a_reader_is_told_how_many_chunks_are_missing(
    after: str | None, stored: list[tuple[int, int, int]], dropped: list[int]
) -> None:
    reading = StreamReading.after("mail.0.a", after, None)
    found = [StoredChunk(token, n, number, encode("x", what="chunk")) for token, n, number in stored]

    assert [chunk.dropped for chunk in reading.take(found, is_more=False)] == dropped
