"""Interruptions of threads hit the job they are meant for, and nothing else."""

from __future__ import annotations

import asyncio
import math
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from jobfleet import JobCancelled
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.outcome import Cancelled
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.executors import local
from jobfleet.worker.executors.local import LoopExecutor, ThreadExecutor
from jobfleet.worker.run.handlers import Handler, Handlers
from jobfleet.worker.run.run import Run, Stage

LANE = Keyspace("jobfleet").lane("default", 0)
JOBS = 4000
AT_ONCE = 4


def handler_of(function: Callable[..., Any]) -> Handler:
    registry = Registry()
    registry.register(function, name="test.function")
    return Handlers(registry, (), JobConfig()).get("test.function")


def run_of(number: int) -> Run:
    grant = Grant(f"default.0.{number}", number, 0, 2, b"", "", "")
    return Run(LANE, grant, 0, math.inf, cast(Any, None))


@pytest.fixture
def nervous() -> Iterator[None]:
    """Threads take turns very often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Storm:
    """Quick jobs in a pool, half of which are stopped at some moment.

    Args:
        seed: Of the dice.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.executor = ThreadExecutor()
        self.handler = handler_of(self.work)
        self.room = asyncio.Semaphore(AT_ONCE)
        self.ends: dict[int, list[tuple[Any, BaseException | None]]] = {}
        self.stopped: set[int] = set()

    @staticmethod
    def work(number: int, turns: int, *, is_deaf: bool) -> int:
        """Count; a deaf one hears no interruption while it does."""
        total = 0
        for turn in range(turns):
            try:
                total += turn
            except JobCancelled:
                if not is_deaf:
                    raise
        return number

    def start(self, number: int) -> Run:
        """Start a job; what it comes to is kept."""
        run = run_of(number)

        def on_end(value: Any, error: BaseException | None) -> None:
            self.ends.setdefault(number, []).append((value, error))
            self.room.release()

        named = {"is_deaf": self.dice.random() < 0.2}
        self.executor.start(run, self.handler, [number, self.dice.randrange(400)], named, on_end)
        return run

    async def stop(self, run: Run) -> None:
        """Stop a job a moment later, now and then twice."""
        self.stopped.add(run.token)
        for _ in range(self.dice.randrange(3)):
            await asyncio.sleep(0)
        run.stop.interrupt(Cancelled("ann"))
        for _ in range(self.dice.choice((1, 1, 2))):
            self.executor.stop(run, Stage.RAISED)

    async def rage(self) -> None:
        """Run them all."""
        for number in range(JOBS):
            await asyncio.wait_for(self.room.acquire(), 30)
            run = self.start(number)
            if self.dice.random() < 0.5:
                await self.stop(run)
        for _ in range(AT_ONCE):
            await asyncio.wait_for(self.room.acquire(), 30)


@pytest.mark.usefixtures("nervous")
@pytest.mark.parametrize("seed", range(3))
async def test_no_stray_interruption_reaches_another_job_or_the_pool(seed: int) -> None:
    storm = Storm(seed)

    await storm.rage()

    assert sorted(storm.ends) == list(range(JOBS))
    assert {len(ends) for ends in storm.ends.values()} == {1}, "each ends once"
    for number, [(value, error)] in storm.ends.items():
        is_whole = (value, error) == (number, None)
        assert is_whole or (number in storm.stopped and isinstance(error, JobCancelled)), (number, value, error)
    assert any(isinstance(error, JobCancelled) for [(_, error)] in storm.ends.values())
    assert [(thread.run, thread.was_interrupted, thread.is_targeted) for thread in storm.executor._threads] == [
        (None, False, False)
    ] * len(storm.executor._threads)
    storm.executor.close()


async def stopped(executor: ThreadExecutor, function: Callable[[], Any], entered: threading.Event) -> Any:
    """Stop a job when it has set `entered`; return its error."""
    ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    run = run_of(1)
    executor.start(run, handler_of(function), [], {}, lambda _, error: ended.set_result(error))
    await asyncio.to_thread(entered.wait, 30)
    executor.stop(run, Stage.RAISED)
    return await asyncio.wait_for(ended, 30)


async def test_a_thread_that_was_interrupted_runs_the_next_job() -> None:
    executor, entered, ended = ThreadExecutor(), threading.Event(), asyncio.Event()
    errors: list[BaseException | None] = []

    def spin() -> None:
        entered.set()
        while True:
            pass

    def on_end(_: Any, error: BaseException | None) -> None:
        errors.append(error)
        ended.set()

    first = await stopped(executor, spin, entered)
    executor.start(run_of(2), handler_of(lambda: 7), [], {}, on_end)
    await asyncio.wait_for(ended.wait(), 30)

    assert isinstance(first, JobCancelled)
    assert errors == [None]
    assert len(executor._threads) == 1
    executor.close()


async def test_an_interruption_that_a_finalizer_swallows_is_raised_again() -> None:
    """The interpreter ignores what is raised in a finalizer or a weakref callback, also when it stops a job."""
    executor, in_finalizer = ThreadExecutor(), threading.Event()

    class Endless:
        def __del__(self) -> None:
            in_finalizer.set()
            while True:
                pass

    def work() -> None:
        endless = Endless()
        del endless
        while True:
            pass

    assert isinstance(await stopped(executor, work, in_finalizer), JobCancelled)
    executor.close()


async def test_an_exception_of_a_finalizer_that_stops_no_job_is_shown_as_before() -> None:
    shown: list[object] = []
    executor, ended = ThreadExecutor(), asyncio.Event()

    class Broken:
        def __del__(self) -> None:
            raise JobCancelled("raised by the user's own code")

    before, sys.unraisablehook = sys.unraisablehook, lambda seen: shown.append(str(seen.exc_value))
    local.keep_interruptions.cache_clear()
    try:
        executor.start(run_of(1), handler_of(lambda: Broken() and None), [], {}, lambda *_: ended.set())
        await asyncio.wait_for(ended.wait(), 30)
    finally:
        sys.unraisablehook = before
        local.keep_interruptions.cache_clear()
    assert shown == ["raised by the user's own code"]
    executor.close()


async def test_a_coroutine_that_is_stopped_before_it_begins_ends_all_the_same() -> None:
    executor, ended = LoopExecutor(), asyncio.Event()
    errors: list[BaseException | None] = []

    async def wait() -> None:
        await asyncio.sleep(60)

    def on_end(_: Any, error: BaseException | None) -> None:
        errors.append(error)
        ended.set()

    run = run_of(1)
    executor.start(run, handler_of(wait), [], {}, on_end)
    executor.stop(run, Stage.RAISED)
    await asyncio.wait_for(ended.wait(), 30)

    assert isinstance(errors[0], asyncio.CancelledError)
