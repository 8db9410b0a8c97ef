"""What runs hand in, seen from within: order and loss while a trip is under way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, cast

from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.run.reports import JobLogWriter, ProgressWriter
from jobfleet.worker.run.run import LogTail, Output, Run
from jobfleet.worker.run.writer import RunWriter, StepWriter
from tests.support.run_events import QuietEvents

LANE = Keyspace("jobfleet").lane("default", 0)


class Slow:
    """A store whose trips take as long as the test likes."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.sent: list[tuple[Any, ...]] = []

    async def run(self, call: Call[Any]) -> Any:
        return (await self.run_many((call,)))[0]

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        await self.gate.wait()
        self.sent += [call.args for call in calls]
        return ["kept" if call.script.name == "keep" else "o" * ((len(call.args) - 2) // 5) for call in calls]


def a_run() -> Run:
    return Run(LANE, Grant("default.0.a", 7, 0, 2, b"", "", ""), 0, 0.0, cast(RunWriter, None))


class Losing(QuietEvents):
    """Remembers which runs have lost their lease."""

    def __init__(self, lost: list[Run]) -> None:
        self._lost = lost

    def lost(self, run: Run) -> None:
        """Remember it."""
        self._lost.append(run)


def scribe_of(store: Slow, lost: list[Run]) -> JobLogWriter:
    return JobLogWriter(cast(AsyncStore, store), most_lines=10, most_bytes=1000, ttl_ms=1000, events=Losing(lost))


async def test_lines_under_way_go_with_the_end_too_so_that_none_is_overtaken() -> None:
    store, run = Slow(), a_run()
    log_writer = scribe_of(store, [])
    log_writer.note(run, 1, 20, "one")
    flushing = asyncio.ensure_future(log_writer.flush())
    await asyncio.sleep(0)
    log_writer.note(run, 2, 20, "two")

    entries = log_writer.take(run, 90_000)

    assert [(entry.n, entry.text, entry.ttl_ms) for entry in entries] == [
        (1, b"1 20 one", 90_000),
        (2, b"2 20 two", 90_000),
        (0, b"", 90_000),
    ]
    store.gate.set()
    await flushing
    assert [entry.n for entry in log_writer.take(run, None)] == [0]


async def test_lines_come_from_any_thread_without_waiting() -> None:
    store, run = Slow(), a_run()
    log_writer = scribe_of(store, [])
    threads = [threading.Thread(target=log_writer.note, args=(run, n, 20, f"line {n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    entries = log_writer.take(run, None)

    assert [entry.n for entry in entries] == [*range(1, 9), 0]
    assert sorted(entry.text for entry in entries[:-1]) == [b"%d 20 line %d" % (n, n) for n in range(8)]
    store.gate.set()


def test_what_waits_is_bounded_in_lines_and_bytes() -> None:
    log = LogTail()
    for _ in range(100):
        log.add(b"x" * 10, 5, 1000)
    assert [n for n, _ in log.take()] == [96, 97, 98, 99, 100]

    for _ in range(10):
        log.add(b"x" * 10, 100, 35)
    assert [n for n, _ in log.take()] == [108, 109, 110]
    assert log.take() == []


async def test_a_result_is_kept_though_whoever_awaits_it_is_cancelled() -> None:
    store, run = Slow(), a_run()
    step_writer = StepWriter(cast(AsyncStore, store), ttl_ms=1000, events=Losing([]))
    keeping = asyncio.ensure_future(step_writer.keep(run, "s:charge", b"done"))
    await asyncio.sleep(0)

    keeping.cancel()
    await asyncio.wait((keeping,))
    store.gate.set()
    for _ in range(5):
        await asyncio.sleep(0)

    assert keeping.cancelled()
    assert [args[-2:] for args in store.sent] == [("s:charge", b"done")]


class Interrupted:
    """A lock. While a thread waits for it, the event loop gets its turn.

    Args:
        turn: What the loop does.
    """

    def __init__(self, turn: Callable[[], object]) -> None:
        self._turn = turn

    def __enter__(self) -> None:
        self._turn()

    def __exit__(self, *_: object) -> None:
        """Let the next thread have it."""


async def test_a_report_of_a_thread_and_a_stage_of_the_loop_have_numbers_of_their_own() -> None:
    store, run = Slow(), a_run()
    writer = ProgressWriter(cast(AsyncStore, store), rate=10, ttl_ms=1000, events=QuietEvents())
    stages: list[int] = []
    cast(Any, writer)._lock = Interrupted(lambda: stages.append(run.output.next_number()))

    writer.report(run, 0.5, "half", None)

    (_, number, _) = writer._latest[run.key]
    assert [*stages, number] == [1, 2]


async def test_no_number_is_taken_twice_by_threads() -> None:
    output, taken = Output(), [list[int]() for _ in range(4)]

    def take(numbers: list[int]) -> None:
        numbers.extend(output.next_number() for _ in range(5_000))

    threads = [threading.Thread(target=take, args=(numbers,)) for numbers in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(chain(*taken)) == [*range(1, 20_001)]
