"""Runs whose code is in another process: the frames to that process, and the frames from it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Generic, TypeVar

from jobfleet.codec import decode
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError
from jobfleet.functions.sealed_addition import open_flow_addition
from jobfleet.worker.executors.isolated.isolated_process import IsolatedProcess
from jobfleet.worker.executors.isolated.remote_error import EndReport, error_of, value_of
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run import run_traces
from jobfleet.worker.run.executor import OnEnd
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Key, Run

LOOK_EVERY = 0.2
"""Seconds between two checks of what the processes use, and of whether their jobs are to stop."""


CHUNK_MOST = 128 * 1024
"""The largest chunk of output in bytes that a process may send; it refuses smaller ones itself."""
FLOOD = 4 * 1024 * 1024
"""Bytes of unsent chunks of a process that does not wait for room, after which it is ended."""

Flags = tuple[str | None, str | None, bool]


class RemoteRun:
    """One run in its process.

    Attributes:
        number: Its number on the channel.
        run: The run.
        job_process: The process.
        on_end: Called with its value or its error.
        flags: What the process knows about the stop of the run: who has cancelled it, why it is to stop, and whether
            this process drains.
        is_stopped: Whether it was interrupted, and not only asked to stop.
        is_ended: Whether it has ended.
    """

    def __init__(self, number: int, run: Run, job_process: IsolatedProcess, on_end: OnEnd) -> None:
        self.number = number
        self.run = run
        self.job_process = job_process
        self.on_end = on_end
        self.flags: Flags = (None, None, False)
        self.is_stopped = False
        self.is_ended = False

    @property
    def is_stopping(self) -> bool:
        """Whether the run is to stop, for any reason."""
        return self.is_stopped or self.run.stop.interruption is not None or self.run.stop.cancel_by is not None


S = TypeVar("S", bound=RemoteRun)


def _floods(run: Run) -> bool:
    return run.output.chunks is not None and run.output.chunks.bytes > FLOOD


def _flags(run: Run) -> Flags:
    return run.stop.cancel_by, run.must_stop, run.is_draining


class RemoteExecutor(Generic[S]):
    """The common part of executors whose runs are in other processes.

    Args:
        config: The settings.
        board: The child's lease board, which shows that a run's code is not in this process.
    """

    def __init__(self, config: JobConfig, board: LeaseBoard) -> None:
        self._limits = limits_of(config)
        self._board = board
        self._remotes: dict[Key, S] = {}
        self._numbers = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def flush(self) -> None:
        """Nothing waits for others here. The processes learn that this one drains."""
        for remote in list(self._remotes.values()):
            self._flag(remote)

    def close(self) -> None:
        """End all processes now. No end is reported for a run that is still there."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._answering:
            task.cancel()
        self._remotes.clear()

    def _send_run(self, remote: S, handler: Handler, **limits: object) -> None:
        """Send a run to its process."""
        run, function = remote.run, handler.function
        self._remotes[run.key] = remote
        self._board.apart(run.lease.place)
        order = {
            "grant": list(run.grant), "name": function.name, "module": function.__module__,
            "qualname": function.__qualname__, "parents": [list(row) for row in run.parents], "until": run.lease.until,
            **limits,
        }  # fmt: skip
        if run.span is not None:
            order["trace"] = run_traces.carrier_of(run)
        remote.job_process.send("run", remote.number, order)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_EVERY, self._look)

    def _take_back(self, remote: S) -> None:
        """A run has ended in its process. From now on this process has it again, and may call hooks."""
        remote.is_ended = True
        self._remotes.pop(remote.run.key, None)
        if not remote.run.ending.is_over:  # otherwise it was given back, and another run may have its place
            self._board.started(remote.run.lease.place)

    def _look(self) -> None:
        """Send changed flags, and check what the processes use."""
        for remote in list(self._remotes.values()):
            self._flag(remote)
            self._watch(remote)
        self._timer = self._loop.call_later(LOOK_EVERY, self._look) if self._remotes else None

    def _watch(self, remote: S) -> None:
        """Check what the process of a run uses."""

    def _flag(self, remote: S) -> None:
        flags = _flags(remote.run)
        if flags != remote.flags:
            remote.flags = flags
            remote.job_process.send("flag", remote.number, *flags)

    def _interrupt(self, remote: S) -> None:
        """Make the process raise in the run's code."""
        remote.is_stopped = True
        remote.flags = _flags(remote.run)
        remote.job_process.send("stop", remote.number, *remote.flags)

    def _received(self, remote: S, word: str, rest: list[Any]) -> None:
        run = remote.run
        match word, rest:
            case "report", [record]:
                run.report(*decode(record, what="progress"))
            case "extend", [seconds]:
                run.extend(seconds)
            case "note", [at_us, level, text]:
                run.note(at_us, level, text)
            case "emit", [bytes(record)] if len(record) <= CHUNK_MOST and not _floods(run):
                if not run.ending.is_over:
                    run.emit(record)
            case (
                "steps" | "keep" | "undo" | "extend_flow" | "confirm" | "acquire_lock" | "release_lock" | "room",
                [number, *what],
            ):
                task = self._loop.create_task(self._answer(remote, word, number, what))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case "ended", [report, is_clean]:
                self._ended(remote, report, is_clean=is_clean)
            case _:
                raise ValueError(f"{[word, *rest]!r:.80} is not a frame")

    def _ended(self, remote: S, report: EndReport, *, is_clean: bool) -> None:
        """A run has ended: name its outcome, and keep or end its process."""
        raise NotImplementedError

    async def _answer(self, remote: S, word: str, number: int, what: list[Any]) -> None:
        value: Any = None
        error = None
        if remote.run.span is not None:
            remote.run.span.enter()
        try:
            if word == "steps":
                value = dict(await remote.run.steps())
            elif word == "confirm":
                await remote.run.lease_confirmed()
                value = remote.run.must_stop
            elif word == "room":
                await remote.run.wait_for_room()
            elif word == "extend_flow":
                value = list(await remote.run.extend_flow(open_flow_addition(what[0], limits=self._limits)))
            elif word == "undo":
                left = await remote.run.undo(*what)
                value = None if left is None else dict(left)
            elif word == "acquire_lock":
                value = await remote.run.acquire_lock(*what)
            elif word == "release_lock":
                await remote.run.release_lock(*what)
            else:
                await remote.run.keep(*what)
        except Exception as raised:  # noqa: BLE001 - the error is sent to the process
            error = (type(raised).__name__, str(raised))
        if not remote.is_ended:
            remote.job_process.send("answer", remote.number, number, value, error)

    def _hand_over(self, remote: S, report: EndReport, *, is_stopping: bool) -> None:
        """Pass the value or the error of a run to `on_end`."""
        value: Any = None
        error: BaseException | None = None
        if report["how"] == "value":
            try:
                value = value_of(report["value"], self._limits)
            except EncodingError as unreadable:
                error = unreadable
        else:
            error = error_of(report, is_stopping=is_stopping)
        remote.on_end(value, error)
