"""The processes of a simulated run: supervisors, children, reapers and producers, with the product's own code.

Only what an operating system offers is replaced: a child is a `Process` of the loop in place of a process of Python,
its pipes are queues, its board is memory of this process, and threads of plain functions are greenlets.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio import events
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any
from unittest import mock

import greenlet
import msgpack

from jobfleet.errors import JobCancelled
from jobfleet.services import main as reaper
from jobfleet.store import channels as channels_aio
from jobfleet.store.link import aio as link_aio
from jobfleet.worker.child import engine
from jobfleet.worker.child import main as child_main
from jobfleet.worker.executors import local as local_executors
from jobfleet.worker.ipc.lease_board import LeaseBoard, LeaseBoardReader
from jobfleet.worker.ipc.usage import Usage
from jobfleet.worker.run import run as run_module
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.interfaces import OnEnd
from jobfleet.worker.run.log_capture import CURRENT
from jobfleet.worker.run.run import Run, Stage
from jobfleet.worker.supervisor import child_handle, children, heartbeat
from jobfleet.worker.supervisor import main as supervisor
from tests.simulation.loop import PROCESS, Process, SimLoop
from tests.simulation.network import Network

MODULES = ("tests.simulation.jobs:fleet",)
STARTING = (0.15, 0.6)
"""Seconds that a process takes to start, at least and at most."""


class Pipe:
    """A pipe between two processes. What was written can be read after the writer's end."""

    def __init__(self) -> None:
        self._frames: deque[list[Any]] = deque()
        self._is_closed = False
        self._reader: asyncio.Future[None] | None = None

    def send(self, *frame: Any) -> None:
        """Write a frame."""
        if not self._is_closed:
            self._frames.append(msgpack.unpackb(msgpack.packb(frame), strict_map_key=False))
            self._wake()

    def close(self) -> None:
        """End it: the reader gets what is left, then the end."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def frames(self) -> AsyncIterator[list[Any]]:
        """Yield the frames until the end."""
        while True:
            while self._frames:
                yield self._frames.popleft()
            if self._is_closed:
                return
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader


class BoardReader(LeaseBoardReader):
    """The supervisor's side of a board in the same memory."""

    def __init__(self, board: LeaseBoard) -> None:
        self._memory = board._memory  # what a descriptor shares between processes

    def close(self) -> None:
        """Nothing: the memory goes with its board."""


class SimChildHandle(child_handle.ChildHandle):
    """The supervisor's view of a child that is a process of the loop."""

    machines: Machines

    def _launch(self, capacity: int) -> None:
        parent = PROCESS.get()
        assert parent is not None
        board, down, up = LeaseBoard(None, capacity), Pipe(), Pipe()
        self._sim = self.machines.child(parent, self.number, board, down, up)
        self._process: Any = SimpleNamespace(returncode=None)
        self.pid = self._sim.pid
        self.reports: Any = up
        self._down: Any = down
        self._board = BoardReader(board)

    def kill(self, number: int) -> None:
        """Send it a signal. Once it serves, it ignores the one that ends a child that loads."""
        if self.exit_code is None and number not in (signal.SIGTERM, signal.SIGUSR1):
            self._sim.signal(number)

    @property
    def usage(self) -> None:
        """Nobody knows."""

    async def _write(self, ask: Callable[[], object], timeout: float) -> str:
        return ""

    def close(self) -> None:
        """Release the board."""
        self._is_closed = True


class GreenThreads:
    """In place of the pool of threads: each plain function runs in a greenlet, and gives way where it would block."""

    stages: tuple[Stage, ...] = (Stage.RAISED,)

    def __init__(self) -> None:
        self._running: dict[int, Any] = {}

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the function in its greenlet."""

        context = copy_context()

        def main() -> None:
            value, error = None, None
            try:
                if run.stop.interruption is not None:
                    raise JobCancelled
                CURRENT.set(run)
                value = handler.call(*args, **kwargs)
            except BaseException as raised:  # whatever the user's code raises is an outcome
                error = raised
            self._running.pop(id(run), None)
            loop.call_soon(on_end, value, error, context=context)

        loop = asyncio.get_running_loop()
        one = self._running[id(run)] = Thread(main)
        one.gr_context = copy_context()
        loop.call_soon(one.go)

    def stop(self, run: Run, stage: Stage) -> None:
        """Raise `JobCancelled` where it blocks."""
        one = self._running.get(id(run))
        if stage is Stage.RAISED and one is not None:
            asyncio.get_running_loop().call_soon(one.go, JobCancelled)
        elif stage is Stage.RAISED and run.task is not None:
            run.task.cancel()

    def flush(self) -> None:
        """Nothing waits for others here."""

    def close(self) -> None:
        """There are no threads."""


class Thread(greenlet.greenlet):  # type: ignore[misc]  # it has no types
    """A greenlet in which no event loop runs, as in a thread."""

    def __init__(self, main: Callable[[], None]) -> None:
        super().__init__(main)
        self.loop = asyncio.get_running_loop()

    def go(self, error: type[BaseException] | None = None) -> None:
        """Go on, or raise where it blocks; nothing if it has ended."""
        if self.dead:
            return
        events._set_running_loop(None)  # asyncio offers this to those who make loops
        try:
            if error is None:
                self.switch()
            elif self:
                self.throw(error)
        finally:
            events._set_running_loop(self.loop)


def green_sleep(seconds: float) -> None:
    """Block a greenlet for a virtual time."""
    one = greenlet.getcurrent()
    assert isinstance(one, Thread)
    timer = one.loop.call_later(seconds, one.go)
    try:
        one.parent.switch()
    finally:
        timer.cancel()


def green_block(run: Run, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """In place of `Run.block`: wait for a coroutine in a greenlet."""
    one = greenlet.getcurrent()
    assert isinstance(one, Thread)
    task = one.loop.create_task(coroutine)
    task.add_done_callback(lambda _: one.go())
    try:
        while not task.done():
            one.parent.switch()
            if not task.done() and (why := run.must_stop) is not None:
                raise JobCancelled(f"{run.id} is to stop: {why}.", job_id=run.id)
        return task.result()
    finally:
        task.cancel()


class SimSignals:
    """In place of `Signals`: the handlers belong to a process of the loop."""

    def install(self, handlers: Mapping[signal.Signals, Callable[[], None]]) -> None:
        """Install handlers."""
        for number, handler in handlers.items():
            asyncio.get_running_loop().add_signal_handler(number, handler)

    @staticmethod
    def has_terminal() -> bool:
        """Whether there is a terminal."""
        return False


class Machines:
    """Starts processes.

    Args:
        loop: The loop.
        dice: Draw the times that processes take to start.
    """

    def __init__(self, loop: SimLoop, dice: Any) -> None:
        self._loop, self._dice = loop, dice
        self.children: dict[str, Process] = {}
        """The present child of each place, such as ``worker.1/0``."""

    def child(self, parent: Process, number: int, board: LeaseBoard, down: Pipe, up: Pipe) -> Process:
        """Start a child."""
        name = f"{parent.machine.name}/{number}"
        process = Process(self._loop, parent.machine, name, parent)
        self.children[name] = process
        process.on_death.append(up.close)
        parent.on_death.append(down.close)
        pause = self._dice.uniform(*STARTING)

        async def main() -> int:
            await asyncio.sleep(pause)
            return await child_main.Child(down.frames(), up, board).run()  # type: ignore[arg-type]  # a pipe sends, too

        process.run(main())
        return process

    def waitpid(self, pid: int, _: int) -> tuple[int, int]:
        """In place of `os.waitpid`."""
        process = self._loop.processes[pid]
        return (pid, process.news.popleft()) if process.news else (0, 0)

    @contextmanager
    def replaced(self, network: Network) -> Iterator[None]:
        """Replace what processes need of the system within the block."""
        here = type("Handle", (SimChildHandle,), {"machines": self})
        forked = SimpleNamespace(
            waitpid=self.waitpid, WNOHANG=1, WUNTRACED=2, WCONTINUED=8,
            WIFSTOPPED=os.WIFSTOPPED, WIFCONTINUED=os.WIFCONTINUED,
        )  # fmt: skip
        nothing = lambda *_, **__: None  # noqa: E731 - many of the same
        with ExitStack() as stack:
            for module, name, value in (
                (link_aio, "async_connections", network.make),
                (link_aio, "packed", lambda _, commands: commands),
                (channels_aio, "async_connections", network.make),
                (children, "ChildHandle", here),
                (children, "frames", lambda pipe: pipe.frames()),
                (children, "os", forked),
                (child_main, "os", SimpleNamespace(_exit=_exit)),
                (child_main, "set_up_logs", nothing),
                (child_main, "start_capture", nothing),
                (child_main, "keep_capturing", nothing),
                (child_main, "stay_on", nothing),
                (child_main, "offer_settings", nothing),
                (supervisor, "StartReport", QuietReport),
                (heartbeat, "own_usage", lambda: Usage(1 << 26, 1.0)),
                (engine, "add_quarantine", nothing),
                (local_executors, "ThreadExecutor", GreenThreads),
                (run_module.Run, "block", green_block),
            ):
                stack.enter_context(mock.patch.object(module, name, value))
            yield


class QuietReport:
    """In place of the report of the start, which is for a terminal."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, _: str) -> Callable[..., Any]:
        return lambda *_, **__: None

    async def ready(self, *_: Any) -> None:
        """A child is ready."""


def _exit(code: int) -> None:
    process = PROCESS.get()
    assert process is not None
    process.end((code & 0xFF) << 8)


async def supervise(config: Any, at: Any) -> int:
    """The main program of a worker."""
    return await supervisor.Supervisor(MODULES, config, at).run(SimSignals())  # type: ignore[arg-type]  # a stand-in


async def reap(config: Any) -> int:
    """The main program of a reaper."""
    return await reaper._run(config, None)  # what `main` runs
