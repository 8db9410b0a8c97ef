"""Runs whose code is in another process: what goes to it over its line, and what comes from it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Generic, TypeVar

from jobfleet.codec import Limits, decode
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError
from jobfleet.functions.sealed_addition import open_flow_addition
from jobfleet.worker.executors.isolated.isolated_process import IsolatedProcess
from jobfleet.worker.executors.isolated.remote_error import Told, error_of, value_of
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.executor import OnEnd
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Key, Run

LOOK_EVERY = 0.2
"""Seconds between two looks at what the processes take, and whether their jobs are to stop."""


class Stay:
    """One run in its process.

    Attributes:
        number: Its number on the line.
        run: The run.
        cell: The process.
        on_end: Takes its value or its error.
        flags: What the process was told of its stop last.
        is_stopped: Whether it was told to stop, rather than only that it should.
        is_ended: Whether it is over.
    """

    def __init__(self, number: int, run: Run, job_process: IsolatedProcess, on_end: OnEnd) -> None:
        self.number = number
        self.run = run
        self.job_process = job_process
        self.on_end = on_end
        self.flags: tuple[str | None, str | None] = (None, None)
        self.is_stopped = False
        self.is_ended = False

    @property
    def is_stopping(self) -> bool:
        """Whether it is to stop, whoever says so."""
        return self.is_stopped or self.run.stop.interruption is not None or self.run.stop.cancel_by is not None


S = TypeVar("S", bound=Stay)


class Remote(Generic[S]):
    """The common part of executors whose runs are in other processes.

    Args:
        config: The settings.
        board: Where it says that a run's code is not in this process.
    """

    def __init__(self, config: JobConfig, board: LeaseBoard) -> None:
        self._limits = Limits(max_bytes=config.max_payload, max_depth=config.max_depth)
        self._board = board
        self._stays: dict[Key, S] = {}
        self._numbers = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._asking: set[asyncio.Task[None]] = set()

    def flush(self) -> None:
        """Nothing waits for others here."""

    def close(self) -> None:
        """End all processes, now; a run that is still there is not heard of again."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._asking:
            task.cancel()
        self._stays.clear()

    def _enter(self, stay: S, handler: Handler, **limits: object) -> None:
        """Send a run to its process."""
        run, function = stay.run, handler.function
        self._stays[run.key] = stay
        self._board.apart(run.lease.place)
        order = {
            "grant": list(run.grant), "name": function.name, "module": function.__module__,
            "qualname": function.__qualname__, "parents": [list(row) for row in run.parents], "until": run.lease.until,
            **limits,
        }  # fmt: skip
        stay.job_process.send("run", stay.number, order)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_EVERY, self._look)

    def _leave(self, stay: S) -> None:
        """It is over there; from here on this process has it again, which may call hooks."""
        stay.is_ended = True
        self._stays.pop(stay.run.key, None)
        if not stay.run.ending.is_over:  # else it was given back, and its place may be another's
            self._board.started(stay.run.lease.place)

    def _look(self) -> None:
        """Pass on what has changed, and see what the processes take."""
        for stay in list(self._stays.values()):
            self._flag(stay)
            self._watch(stay)
        self._timer = self._loop.call_later(LOOK_EVERY, self._look) if self._stays else None

    def _watch(self, stay: S) -> None:
        """See what the process of a run takes."""

    def _flag(self, stay: S) -> None:
        flags = (stay.run.stop.cancel_by, stay.run.must_stop)
        if flags != stay.flags:
            stay.flags = flags
            stay.job_process.send("flag", stay.number, *flags)

    def _interrupt(self, stay: S) -> None:
        """Have the process raise in the run's code."""
        stay.is_stopped = True
        stay.flags = (stay.run.stop.cancel_by, stay.run.must_stop)
        stay.job_process.send("stop", stay.number, *stay.flags)

    def _told(self, stay: S, word: str, rest: list[Any]) -> None:
        run = stay.run
        match word, rest:
            case "report", [record]:
                run.report(*decode(record, what="progress"))
            case "extend", [seconds]:
                run.extend(seconds)
            case "note", [at_us, level, text]:
                run.note(at_us, level, text)
            case "steps" | "keep" | "extend_flow" | "stands", [number, *what]:
                task = self._loop.create_task(self._answer(stay, word, number, what))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
            case "ended", [told, is_clean]:
                self._ended(stay, told, is_clean=is_clean)
            case _:
                raise ValueError(f"{[word, *rest]!r:.80} is no frame")

    def _ended(self, stay: S, told: Told, *, is_clean: bool) -> None:
        """A run is over: name its ending, and say what becomes of its process."""
        raise NotImplementedError

    async def _answer(self, stay: S, word: str, number: int, what: list[Any]) -> None:
        value: Any = None
        error = None
        try:
            if word == "steps":
                value = dict(await stay.run.steps())
            elif word == "stands":
                await stay.run.lease_confirmed()
                value = stay.run.must_stop
            elif word == "extend_flow":
                value = list(await stay.run.extend_flow(open_flow_addition(what[0], limits=self._limits)))
            else:
                await stay.run.keep(*what)
        except Exception as raised:  # noqa: BLE001 - whoever asked is told
            error = (type(raised).__name__, str(raised))
        if not stay.is_ended:
            stay.job_process.send("answer", stay.number, number, value, error)

    def _hand_over(self, stay: S, told: Told, *, is_stopping: bool) -> None:
        """Hand an ending over to whoever has started the run."""
        value: Any = None
        error: BaseException | None = None
        if told["how"] == "value":
            try:
                value = value_of(told["value"], self._limits)
            except EncodingError as unreadable:
                error = unreadable
        else:
            error = error_of(told, is_stopping=is_stopping)
        stay.on_end(value, error)
