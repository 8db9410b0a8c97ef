"""The writer of output streams, seen from within: back-pressure, refusals and runs that are over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from jobfleet.errors import JobCancelled, ScriptContractError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.run import CHUNKS
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.run.reports import MOST_BYTES, MOST_WAITING, ChunkWriter
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.writer import RunWriter
from tests.support.run_events import QuietEvents

LANE = Keyspace("jobfleet").lane("default", 0)


class Gated:
    """A store whose trips take as long as the test likes."""

    def __init__(self, answer: Any = None) -> None:
        self.gate = asyncio.Event()
        self.answer = answer
        self.calls: list[Call[Any]] = []

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        await self.gate.wait()
        self.calls += calls
        return [self.answer or "o" * (len(call.keys) - 1) for call in calls]


class Losing(QuietEvents):
    """Remembers which runs have lost their lease."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def lost(self, run: Run) -> None:
        """Remember it."""
        self.runs.append(run)


def a_run(number: int = 1) -> Run:
    return Run(LANE, Grant(f"default.0.{number}", 7, 0, 2, b"", "", ""), 0, 0.0, cast(RunWriter, None))


def writer_of(store: Gated, events: QuietEvents | None = None) -> ChunkWriter:
    return ChunkWriter(cast(AsyncStore, store), most=9, most_bytes=9, ttl_ms=1000, events=events or QuietEvents())


@pytest.mark.parametrize(("record", "count"), [(b"x", MOST_WAITING), (b"x" * 65_536, MOST_BYTES // 65_536)])
async def test_a_job_waits_while_too_much_is_unsent(record: bytes, count: int) -> None:
    store, run = Gated(), a_run()
    writer = writer_of(store)

    answers = [writer.emit(run, record) for _ in range(count)]
    waiting = asyncio.ensure_future(writer.wait_for_room(run))
    await asyncio.sleep(0)

    assert answers == [True] * (count - 1) + [False]
    assert not waiting.done()
    store.gate.set()
    await asyncio.wait_for(waiting, 30)
    await writer.flush()
    await writer.flush()
    assert sum(int(call.args[7]) for call in store.calls) == count


async def test_chunks_in_flight_go_with_the_end_too_so_that_none_is_overtaken() -> None:
    store, run = Gated(), a_run()
    writer = writer_of(store)
    writer.emit(run, b"one")
    flushing = asyncio.ensure_future(writer.flush())
    await asyncio.sleep(0)
    writer.emit(run, b"two")

    (call,) = writer.end(run, 90_000)

    assert call.args[3:] == (run.id, 7, 90_000, 1, 2, b"one", b"two")
    store.gate.set()
    await flushing
    (call,) = writer.end(run, None)
    assert call.args[3:] == (run.id, 7, 1000, 3, 0)
    assert run.output.chunks is not None
    assert run.output.chunks.emitted == 2


async def test_an_end_with_many_chunks_has_several_calls() -> None:
    writer, run = writer_of(Gated()), a_run()
    for n in range(CHUNKS + 1):
        writer.emit(run, b"%d" % n)

    first, second = writer.end(run, None)

    assert (first.args[6], first.args[7], second.args[6:]) == (1, CHUNKS, (CHUNKS + 1, 1, b"%d" % CHUNKS))


async def test_chunks_of_a_run_that_was_overtaken_are_dropped_and_the_run_learns_of_it() -> None:
    store, run, events = Gated("l"), a_run(), Losing()
    writer = writer_of(store, events)
    writer.emit(run, b"late")
    store.gate.set()

    await writer.flush()

    assert events.runs == [run]
    assert writer.end(run, None)[0].args[6:] == (2, 0)


async def test_what_redis_refuses_is_reported_once_and_raised_in_the_job(caplog: pytest.LogCaptureFixture) -> None:
    store, run = Gated(ScriptContractError("no such key")), a_run()
    writer = writer_of(store)
    writer.emit(run, b"one")
    store.gate.set()

    await writer.flush()

    with pytest.raises(ScriptContractError, match="no such key"):
        writer.emit(run, b"two")
    assert [line.getMessage() for line in caplog.records] == ["job.output_refused job_id=default.0.1 no such key"]


async def test_code_that_goes_on_after_the_end_of_its_run_emits_nothing() -> None:
    writer, run = writer_of(Gated()), a_run()
    run.ending.is_over = True

    with pytest.raises(JobCancelled, match=r"default\.0\.1 is to stop: this run has ended"):
        writer.emit(run, b"late")


async def test_a_call_has_a_bounded_number_of_jobs_and_chunks() -> None:
    store = Gated()
    writer = writer_of(store)
    for number in range(120):
        writer.emit(a_run(number), b"x")
    large = a_run(999)
    for _ in range(CHUNKS):
        writer.emit(large, b"x")
    writer.emit(a_run(1000), b"x")
    store.gate.set()

    await writer.flush()

    assert [len(call.keys) - 1 for call in store.calls] == [50, 50, 21, 1]
