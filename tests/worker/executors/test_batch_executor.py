"""The executor of batches alone: when it begins a call, and for whom."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.errors import JobCancelled
from jobfleet.functions.registry import Registry
from jobfleet.outcome import Interrupted, LeaseLost
from jobfleet.retry.tries import suspicion_of
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.executors.batch import BatchExecutor
from jobfleet.worker.executors.local import LoopExecutor, ThreadExecutor
from jobfleet.worker.ipc.lease_board import LeaseBoard, Phase
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.interfaces import Executor
from jobfleet.worker.run.run import Run, Stage
from jobfleet.worker.run.stop_ladder import StopLadder
from tests.support.run_events import QuietEvents
from tests.support.waiting import await_until

LANE = Keyspace("jobfleet").lane("default", 0)
HOUR = 3600.0
RunIn = Literal["async", "thread"]


class Scene:
    """An executor, its board, and a function that notes what it is called with."""

    def __init__(self, *, wait: float, size: int = 3, slots: int = 10, where: RunIn = "async") -> None:
        self.calls: list[list[int]] = []
        self.ended: dict[int, object] = {}
        self.board = LeaseBoard(None, 20)
        ladder = StopLadder(self.board, cancel_grace=1, stop_grace=1, events=QuietEvents(), can_end_process=False)
        self.backend = SimpleNamespace(loop=asyncio.get_running_loop())
        inner: dict[str, Executor] = {"async": LoopExecutor(), "thread": ThreadExecutor()}
        self.executor = BatchExecutor(inner, self.board, ladder, slots=slots, hard_grace=1)
        registry = Registry()

        async def note(numbers: list[int]) -> list[int]:
            self.calls.append(numbers)
            return numbers

        def note_in_thread(numbers: list[int]) -> list[int]:
            self.calls.append(numbers)
            return numbers

        function = note if where == "async" else note_in_thread
        registry.register(function, name="test.note", batch=size, batch_wait=wait)
        self.handler = Handlers(registry, (), JobConfig()).get("test.note")

    def start(self, number: int, *, until: float = HOUR, tries: str = "") -> Run:
        """Start a run, as the engine does."""
        job_id = f"default.0.{number}"
        grant = Grant(job_id, number + 1, 0, 2, b"", tries, "")
        place = self.board.post(job_id, number + 1)
        run = Run(LANE, grant, place, boottime() + until, cast(Any, self.backend))
        run.suspicion = suspicion_of(tries)
        self.board.started(place)

        def note(value: object, error: BaseException | None) -> None:
            assert number not in self.ended, "it has ended before"
            self.ended[number] = error or value

        self.executor.start(run, self.handler, [number], {}, note)
        return run

    async def await_ended(self, count: int) -> None:
        """Wait until so many runs have ended."""

        async def have_ended() -> bool:
            return len(self.ended) == count

        await await_until(have_ended, why=f"{count} runs have ended")

    def phases(self) -> list[Phase]:
        """What the board says."""
        return [one.phase for one in self.board.read()]


async def test_a_batch_that_waits_for_nobody_takes_what_one_turn_of_the_loop_has_brought() -> None:
    scene = Scene(wait=0)

    for number in range(2):
        scene.start(number)

    assert scene.phases() == [Phase.CLAIMED] * 2
    await scene.await_ended(2)
    assert scene.calls == [[0, 1]]
    assert scene.phases() == [Phase.STARTED] * 2


async def test_a_batch_is_never_larger_than_there_are_slots() -> None:
    scene = Scene(wait=HOUR, slots=2)

    for number in range(4):
        scene.start(number)

    await scene.await_ended(4)
    assert scene.calls == [[0, 1], [2, 3]]


async def test_a_suspect_has_a_batch_of_its_own() -> None:
    scene = Scene(wait=HOUR)
    scene.start(0)

    scene.start(1, tries="0:0:0:0:2:3\n1 5 crashed")

    await scene.await_ended(1)
    assert scene.calls == [[1]]
    assert scene.phases() == [Phase.CLAIMED, Phase.STARTED]
    scene.executor.close()


async def test_a_run_whose_lease_has_to_be_renewed_first_waits_for_that() -> None:
    scene = Scene(wait=0)
    stale = scene.start(0, until=-1)
    scene.start(1)

    await scene.await_ended(1)
    assert scene.calls == [[1]]
    stale.lease.until = boottime() + HOUR
    await scene.await_ended(2)
    assert scene.calls == [[1], [0]]


async def test_what_is_gathered_begins_once_nothing_more_will_come() -> None:
    scene = Scene(wait=HOUR)
    scene.start(0)

    scene.executor.flush()
    await scene.await_ended(1)
    scene.start(1)
    await scene.await_ended(2)

    assert scene.calls == [[0], [1]]


async def test_a_run_that_is_stopped_while_it_is_gathered_ends_and_is_left_out() -> None:
    scene = Scene(wait=HOUR)
    first, _ = scene.start(0), scene.start(1)

    scene.executor.stop(first, Stage.ASKED)
    scene.executor.stop(first, Stage.RAISED)
    scene.executor.stop(first, Stage.RAISED)
    await scene.await_ended(1)
    scene.executor.flush()
    await scene.await_ended(2)

    assert type(scene.ended[0]).__name__ == "JobCancelled"
    assert (scene.calls, scene.ended[1]) == ([[1]], 1)


@pytest.mark.parametrize("where", ["async", "thread"])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("comes", ["renewal", "loss"])
async def test_code_is_not_called_under_a_lease_that_has_ended_meanwhile(
    monkeypatch: pytest.MonkeyPatch, where: RunIn, size: int, comes: str
) -> None:
    """The machine may stand still between the start of a run and the call of its code."""
    scene, asked = Scene(wait=0, size=size, where=where), asyncio.Event()
    confirmed = Run.lease_confirmed

    async def noted(run: Run) -> None:
        asked.set()
        await confirmed(run)

    monkeypatch.setattr(Run, "lease_confirmed", noted)
    runs = [scene.start(number) for number in range(size)]
    for run in runs:
        run.lease.until = boottime() - 1
    await asyncio.wait_for(asked.wait(), 10)
    before = list(scene.calls)
    if comes == "loss":
        runs[-1].stop.interrupt(LeaseLost())
        scene.executor.stop(runs[-1], Stage.RAISED)
    for run in runs:
        run.lease.until = boottime() + HOUR
    await scene.await_ended(size)

    assert before == []
    assert scene.calls == ([] if comes == "loss" else [list(range(size))])
    if comes == "loss":
        assert {type(error) for error in scene.ended.values()} == {JobCancelled}
        assert [type(run.stop.interruption) for run in runs] == [Interrupted] * (size - 1) + [LeaseLost]
