"""Interruptions of threads hit the job they are meant for, and nothing else."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from jobfleet import JobCancelled
from jobfleet.client.registry import Registry
from jobfleet.config import JobConfig
from jobfleet.outcome import Cancelled
from jobfleet.store.keys import Keyspace
from jobfleet.store.values import Grant
from jobfleet.worker.executors.executor import Stage
from jobfleet.worker.executors.loop import LoopExecutor
from jobfleet.worker.executors.thread import ThreadExecutor
from jobfleet.worker.handlers import Handler, Handlers
from jobfleet.worker.run import Run

LANE = Keyspace("jobfleet").lane("default", 0)
JOBS = 4000
AT_ONCE = 4


def handler_of(function: Callable[..., Any]) -> Handler:
    registry = Registry()
    registry.register(function, name="test.function")
    return Handlers(registry, (), JobConfig()).get("test.function")


def run_of(number: int) -> Run:
    grant = Grant(f"default.0.{number}", number, 0, 2, b"", "", "")
    return Run(LANE, grant, 0, 0.0, cast(Any, None))


@pytest.fixture
def nervous() -> Iterator[None]:
    """Threads take turns very often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("nervous")
@pytest.mark.parametrize("seed", range(3))
async def test_no_stray_interruption_reaches_another_job_or_the_pool(seed: int) -> None:
    dice = random.Random(seed)
    executor = ThreadExecutor()
    ends: dict[int, list[tuple[Any, BaseException | None]]] = {}
    room = asyncio.Semaphore(AT_ONCE)
    swallowed: list[int] = []

    def work(number: int, turns: int, *, is_deaf: bool) -> int:
        total = 0
        for turn in range(turns):
            try:
                total += turn
            except JobCancelled:
                swallowed.append(number)
                if not is_deaf:
                    raise
        return number

    handler = handler_of(work)
    stopped: set[int] = set()
    for number in range(JOBS):
        await room.acquire()
        run = run_of(number)

        def on_end(value: Any, error: BaseException | None, *, number: int = number) -> None:
            ends.setdefault(number, []).append((value, error))
            room.release()

        executor.start(run, handler, [number, dice.randrange(400)], {"is_deaf": dice.random() < 0.2}, on_end)
        if dice.random() < 0.5:
            stopped.add(number)
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)
            run.interrupt(Cancelled("ann"))
            executor.stop(run, Stage.RAISED)
            if dice.random() < 0.3:
                executor.stop(run, Stage.RAISED)
    for _ in range(AT_ONCE):
        await asyncio.wait_for(room.acquire(), 30)

    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("jobfleet-job-")]
    assert sorted(ends) == list(range(JOBS))
    assert {len(one) for one in ends.values()} == {1}, "each ends once"
    assert len(names) >= 1
    for number, ((value, error),) in ends.items():
        if number in stopped:
            assert value == number or isinstance(error, JobCancelled), (number, value, error)
        else:
            assert (value, error) == (number, None), "nobody stopped it"
    assert len(executor._seats) == len([seat for seat in executor._seats if seat.run is None])
    assert not any(seat.was_hit or seat.is_aimed_at for seat in executor._seats)
    executor.close()


async def test_a_thread_that_was_interrupted_runs_the_next_job() -> None:
    executor = ThreadExecutor()
    entered, ended = threading.Event(), asyncio.Event()
    errors: list[BaseException | None] = []

    def spin() -> None:
        entered.set()
        while True:
            pass

    def on_end(_: Any, error: BaseException | None) -> None:
        errors.append(error)
        ended.set()

    run = run_of(1)
    executor.start(run, handler_of(spin), [], {}, on_end)
    await asyncio.to_thread(entered.wait, 30)
    executor.stop(run, Stage.RAISED)
    await asyncio.wait_for(ended.wait(), 30)
    ended.clear()
    executor.start(run_of(2), handler_of(lambda: 7), [], {}, on_end)
    await asyncio.wait_for(ended.wait(), 30)

    assert isinstance(errors[0], JobCancelled)
    assert errors[1] is None
    assert len(executor._seats) == 1
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
