"""The group commit of endings: an error about the answer for one run costs no run its place, and no ending is left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from jobfleet.metrics.tally import Tally
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.settle import Item, release
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.store.target import target
from jobfleet.worker.child.engine import Engine
from jobfleet.worker.ipc.lease_board import LeaseBoard, board_capacity
from jobfleet.worker.run.conclusion import Completer
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.writer import RunWriter
from tests.support.run_events import QuietEvents

LANE = Keyspace("jobfleet").lane("default", 0)


class Failing(QuietEvents):
    """Fails with each answer."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str]] = []

    def settled(self, run: Run, letter: str) -> None:
        self.answers.append((run.id, letter))
        raise LookupError("planted")

    def answered(self, runs: Sequence[Run], items: Sequence[Item], letters: str) -> None:
        assert (len(runs), len(items)) == (len(letters), len(letters))
        raise LookupError("planted")


def a_run(number: int) -> Run:
    grant = Grant(f"default.0.a{number}", number + 1, 0, 2, b"", "", "")
    return Run(LANE, grant, 0, 0.0, cast(RunWriter, None))


async def test_an_error_about_one_run_costs_neither_the_others_nor_later_endings(redis_url: str) -> None:
    store, events = AsyncStore(target(redis_url), patience=None), Failing()
    completer = Completer(LANE, "w.1", store, progress_ttl_ms=1, events=events)
    for number in range(3):
        completer.add(a_run(number), release(f"default.0.a{number}", number + 1))
    await asyncio.sleep(0)  # the first trip is under way
    completer.add(a_run(3), release("default.0.a3", 4))

    assert await completer.drained(30.0)
    await store.close()

    assert events.answers == [(f"default.0.a{number}", "l") for number in range(4)]


class BrokenTally(Tally):
    """Cannot count the end of a run."""

    def run_finished(
        self, queue: str, function: str, outcome: str, duration_us: int, wait_us: int, *, is_whole: bool = False
    ) -> None:
        """Fail."""
        raise LookupError("planted")


async def test_a_run_leaves_the_board_though_its_end_cannot_be_counted(fleet: Fleet, registry: Registry) -> None:
    function = registry.register(int, name="test.zero", fleet=fleet)
    handles = await asyncio.to_thread(lambda: [function.enqueue() for _ in range(3)])
    board, store = LeaseBoard(None, board_capacity(10)), AsyncStore(fleet.store.at, patience=None)
    handlers = Handlers(registry, (), fleet.config)
    engine = Engine(fleet.config, handlers, child="w.0", board=board, store=store, tally=BrokenTally())
    engine.start((LANE,))

    await asyncio.to_thread(lambda: [handle.result(timeout=30) for handle in handles])
    await engine.drain(30.0)
    await store.close()

    assert engine.finished == len(handles)
    assert list(board.read()) == []
