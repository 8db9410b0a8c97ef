"""A look-up around a run fails in a way that nobody expects: the run ends, and its slot is free."""

from __future__ import annotations

import asyncio
import math
from typing import Any, NamedTuple, cast

import pytest

from jobfleet.codec import Limits, seal
from jobfleet.config import JobConfig
from jobfleet.functions.hooks import Hooks
from jobfleet.functions.registry import Registry
from jobfleet.outcome import OutOfMemory
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.conclusion import Conclusions
from jobfleet.worker.run.endings import StoredResults
from jobfleet.worker.run.handlers import Handler, Handlers
from jobfleet.worker.run.interfaces import Died
from jobfleet.worker.run.middleware import MiddlewareChain
from jobfleet.worker.run.resources import Resources
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.runner import Runner
from jobfleet.worker.run.stop_ladder import StopLadder
from tests.support.run_events import QuietEvents
from tests.support.waiting import await_until

LANE = Keyspace("jobfleet").lane("mail", 0)
LIMITS = Limits(max_bytes=100_000, max_depth=32)
NOBODY: Any = None


def abroad(number: int) -> int:
    """Run in a process of its own."""
    return number


def handlers() -> Handlers:
    registry = Registry()
    registry.register(abroad, name="test.abroad", queue="mail", run_in="process", memory_limit=10**9, on_oom="roomy")
    return Handlers(registry, (), JobConfig())


class Sent(NamedTuple):
    """What would be sent to Redis: the verb of the ending of each run."""

    verbs: list[str]

    def __getitem__(self, lane: Any) -> Any:
        """The completer of any lane."""
        return self

    def add(self, run: Run, item: Any) -> None:
        """Note an ending."""
        self.verbs.append(f"{item.verb} {run.id}")


class Lost:
    """Fails at everything, in a way that nobody expects."""

    def __init__(self) -> None:
        self.asked = 0

    def _fail(self) -> None:
        self.asked += 1
        raise LookupError("planted")

    async def move(self, run: Run, queue: str) -> None:
        """Fail to move a job."""
        self._fail()

    def spawn(self, work: Any) -> None:
        """Run a step of a move."""
        self.task = asyncio.ensure_future(work)

    async def judge(self, run: Run, reason: str) -> Any:
        """Fail to find out who knows a function."""
        self._fail()

    async def __call__(self, lane: Any, job_id: str, header: Any) -> Any:
        """Fail to find out how parents ended."""
        self._fail()


class Engine(QuietEvents):
    """Notes whose slot is free."""

    def __init__(self) -> None:
        self.free: list[str] = []

    def returned(self, run: Run) -> None:
        """Note it."""
        self.free.append(run.id)


class Scene:
    """One run, and collaborators that fail."""

    def __init__(self, header: dict[str, Any]) -> None:
        self.sent, self.lost, self.engine = Sent([]), Lost(), Engine()
        board = LeaseBoard(None, 1)
        grant = Grant("mail.0.a", 7, 0, 2, seal(header, [1], {}), "", "")
        self.run = Run(LANE, grant, board.post("mail.0.a", 7), math.inf, NOBODY)
        self.run.header = header
        ladder = StopLadder(board, cancel_grace=1, stop_grace=1, events=self.engine, can_end_process=False)
        self.handlers = handlers()
        middleware = MiddlewareChain(Hooks(), (), {}, Resources())
        self.conclusions = Conclusions(
            JobConfig(),
            child="w.1",
            limits=LIMITS,
            now_us=lambda: 1,
            events=self.engine,
            ladder=ladder,
            middleware=middleware,
            writer=NOBODY,
            mover=cast(Any, self.lost),
            stored=StoredResults(None, _nothing, inline_max=1 << 30, redis_max=1 << 30),
            completers=cast(Any, self.sent),
        )
        self.runner = Runner(
            self.handlers,
            {},
            ladder,
            middleware=middleware,
            conclusions=self.conclusions,
            parents=cast(Any, self.lost),
            routes=self.lost,
            gates=cast(Any, self.lost),
            child="w.1",
            payloads=None,
            limits=LIMITS,
            hard_grace=1,
            job_level=None,
        )

    @property
    def handler(self) -> Handler:
        """The function that runs in processes."""
        return self.handlers.get("test.abroad")

    async def ended(self) -> list[str]:
        """Wait until the run has ended; answer what is sent."""

        async def is_sent() -> bool:
            return bool(self.sent.verbs)

        await await_until(is_sent, why="the run has ended")
        assert (self.run.ending.is_over, self.engine.free, self.lost.asked) == (True, ["mail.0.a"], 1)
        return self.sent.verbs


async def test_a_move_that_fails_in_any_way_ends_the_run_as_it_would_have_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene({"function": "test.abroad"})
    scene.run.handler = scene.handler

    scene.conclusions.code_ended(scene.run, None, Died(OutOfMemory("its limit")))

    assert await scene.ended() == ["retry mail.0.a"]
    assert "job.not_moved job_id=mail.0.a" in caplog.text
    assert "planted" in caplog.text


async def test_a_run_whose_function_cannot_be_looked_up_is_parked(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene({"function": "test.elsewhere"})

    scene.runner.start(scene.run)

    assert await scene.ended() == ["park mail.0.a"]
    assert "planted" in caplog.text


async def test_a_run_whose_parents_cannot_be_looked_up_fails() -> None:
    scene = Scene({"function": "test.abroad", "parents": 1})

    scene.runner.start(scene.run)

    assert await scene.ended() == ["fail mail.0.a"]


async def test_a_run_whose_lease_cannot_be_confirmed_ends(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene({"function": "test.abroad", "parents": 1})

    async def parents(lane: Any, job_id: str, header: Any) -> list[Any]:
        return []

    async def lease_confirmed() -> None:
        await scene.lost(lane=None, job_id="", header={})

    scene.runner._parents = cast(Any, parents)
    cast(Any, scene.run).lease_confirmed = lease_confirmed

    scene.runner.start(scene.run)

    assert await scene.ended() == ["fail mail.0.a"]
    assert "planted" in caplog.text


async def _nothing() -> None:
    """There is no store to check."""
