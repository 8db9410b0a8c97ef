"""A run that is made to stop, on its way up the ladder: what its executor was asked for, and what was told of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from jobfleet import JobContext
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.ipc.lease_board import LeaseBoard, overdue
from jobfleet.worker.run import stop_ladder as ladder_module
from jobfleet.worker.run.handlers import Handler, Handlers
from jobfleet.worker.run.interfaces import OnEnd, Verdict
from jobfleet.worker.run.run import Run, Stage
from jobfleet.worker.run.stop_ladder import StopLadder
from tests.support.run_events import QuietEvents

LANE = Keyspace("jobfleet").lane("default", 0)
SOFT = (Stage.RAISED,)
ALL = (Stage.RAISED, Stage.TERMINATED, Stage.KILLED)
NOBODY: Any = cast(Any, None)
CANCEL_GRACE, STOP_GRACE = 3.0, 8.0
Entry = tuple[float, str, object]
MANY = 1000
"""More timers than any case needs."""


class Deaf:
    """An executor whose runs heed nothing."""

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self.stages = stages
        self.asked: list[Stage] = []
        self.on_stop: Callable[[Stage], None] = lambda _: None

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Nothing runs here."""

    def flush(self) -> None:
        """Nothing waits here."""

    def stop(self, run: Run, stage: Stage) -> None:
        """Remember it."""
        del run
        self.asked.append(stage)
        self.on_stop(stage)

    def close(self) -> None:
        """Nothing is idle."""


def handler_of(function: Callable[..., Any], **options: Any) -> Handler:
    registry = Registry()
    registry.register(function, name="test.function", **options)
    return Handlers(registry, (), JobConfig(hard_grace=10)).get("test.function")


def plain() -> None:
    """Cannot look."""


def looking(ctx: JobContext) -> None:
    """Could look."""


class Noted(QuietEvents):
    """Passes the stages and the condemnations of runs on."""

    def __init__(self, on_stage: Callable[[Stage], None], on_condemned: Callable[[Verdict], None]) -> None:
        self._on_stage = on_stage
        self._on_condemned = on_condemned

    def stage_reached(self, run: Run, stage: Stage) -> None:
        """Pass the stage on."""
        del run
        self._on_stage(stage)

    def condemned(self, run: Run, verdict: Verdict) -> None:
        """Pass the verdict on."""
        del run
        self._on_condemned(verdict)


class Stopping:
    """One run on its way up."""

    def __init__(self, stages: tuple[Stage, ...], function: Callable[..., Any] = plain, *, grace: float = 0.05) -> None:
        self.executor = Deaf(stages)
        self.noted: list[Stage] = []
        self.condemned: list[Verdict] = []
        self.board = LeaseBoard(None, 1)
        self.run = Run(
            LANE, Grant("default.0.a", 1, 0, 2, b"", "", ""), self.board.post("default.0.a", 1), math.inf, NOBODY
        )
        self.run.handler = handler_of(function)
        self.run.executor = self.executor
        self.ladder = StopLadder(
            self.board,
            cancel_grace=grace,
            stop_grace=grace,
            events=Noted(self.noted.append, self.condemned.append),
            can_end_process=True,
        )


class Timer:
    """What `call_later` answers."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        """Never call."""
        self.is_cancelled = True


class Hand:
    """Clock and timers; every time here is a sum of eighths, so all are exact."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.calls = 0

    def read(self) -> float:
        """The time."""
        return self.now

    def call_later(self, delay: float, call: Callable[..., None], *args: Any) -> Timer:
        """As the event loop does."""
        assert delay >= 0, "a timer in the past"
        timer = Timer(self.now + delay, lambda: call(*args))
        self.timers.append(timer)
        return timer

    def pending(self) -> list[float]:
        """When timers will come."""
        self.timers = [timer for timer in self.timers if not timer.is_cancelled]
        return [timer.at for timer in self.timers]

    def move(self, to: float) -> None:
        """Move the clock, and call each timer at its time."""
        while self.pending() and (first := min(self.timers, key=lambda timer: timer.at)).at <= to:
            self.timers.remove(first)
            self.now = max(self.now, first.at)
            first.call()
            self.calls += 1
            assert self.calls < MANY, "timers without an end"
        self.now = to


class Timed(Stopping):
    """A run on its way up, and a note of each thing that is done, with its second."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        hand: Hand,
        stages: tuple[Stage, ...],
        function: Callable[..., Any] = plain,
        *,
        cancel_grace: float = CANCEL_GRACE,
        can_end: bool = True,
    ) -> None:
        self.hand = hand
        self.trace: list[Entry] = []
        monkeypatch.setattr(ladder_module, "monotonic", hand.read)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "get_running_loop", lambda: hand)
            super().__init__(stages, function)
            self.ladder = StopLadder(
                self.board,
                cancel_grace=cancel_grace,
                stop_grace=STOP_GRACE,
                events=Noted(lambda stage: self._add("noted", stage), lambda verdict: self._add("condemned", verdict)),
                can_end_process=can_end,
            )
        self.executor.on_stop = lambda stage: self._add("asked", stage)
        self.board.started(self.run.lease.place)

    def _add(self, what: str, value: object) -> None:
        self.trace.append((self.elapsed, what, value))

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.hand.now - 1000.0

    def after(self, seconds: float) -> None:
        """Let it be so many seconds since the run began."""
        self.hand.move(1000.0 + seconds)

    def on_board(self) -> float | None:
        """Until when the supervisor waits, in seconds since the run began; None for ever."""
        eighths = [number / 8 for number in range(8 * 200)]
        late = [at for at in eighths if overdue(self.board._memory, 1000.0 + at)]
        return late[0] - 0.125 if late else None
