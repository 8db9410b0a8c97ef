"""An asyncio event loop in virtual time, and the processes that live in it.

When nothing is ready, the clock jumps to the next timer; code takes no time. Each callback belongs to the process in
whose context it was made. Callbacks of a dead process are dropped, so a process can die at any await; those of a frozen
process are held back while time continues.
"""

from __future__ import annotations

import asyncio
import heapq
import signal
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any

START_US = 2_208_988_800_000_000
"""The time of all clocks at the start of a run: 2040. It is ahead of every real clock; see `server`."""
SECOND_US = 1_000_000
NEVER = 1e12
"""Seconds that never pass."""
MOST_TURNS = 300_000
"""Turns of the loop without progress of time after which somebody spins."""


class StalledError(AssertionError):
    """Nothing is ready and nothing is due, or time does not pass because somebody spins."""


class Machine:
    """A machine with a clock of its own.

    Attributes:
        name: Its name, such as ``worker.1``.
        ahead_us: By how much its wall clock is ahead of virtual time.
        drift: Seconds by which its clocks gain on virtual time per second.
    """

    def __init__(self, loop: SimLoop, name: str) -> None:
        self._loop = loop
        self.name = name
        self.ahead_us = 0
        self.drift = 0.0
        self._drifted_us = 0.0
        self._drifts_since = 0

    def set_drift(self, drift: float) -> None:
        """Change the speed of its clocks."""
        self._drifted_us = self._gained()
        self._drifts_since, self.drift = self._loop.us, drift

    def _gained(self) -> float:
        return self._drifted_us + (self._loop.us - self._drifts_since) * self.drift

    def monotonic_us(self) -> int:
        """Its monotonic clock: it drifts, but never jumps."""
        return self._loop.us + round(self._gained()) + 1000 * SECOND_US

    def wall_us(self) -> int:
        """Its wall clock."""
        return START_US + self._loop.us + round(self._gained()) + self.ahead_us


class Process:
    """A process: the tasks that were started in its context.

    Args:
        loop: The loop.
        machine: Where it runs.
        name: Its name in traces.
        parent: The process that learns of its death; None for those that nobody watches.
    """

    def __init__(self, loop: SimLoop, machine: Machine, name: str, parent: Process | None = None) -> None:
        self.loop, self.machine, self.name, self.parent = loop, machine, name, parent
        self.pid = loop.next_pid()
        self.is_dead = self.is_frozen = False
        self.handlers: dict[int, Callable[[], object]] = {}
        self.news: deque[int] = deque()
        """Statuses for its parent's `waitpid`."""
        self.on_death: list[Callable[[], object]] = []
        self.held: list[asyncio.Handle] = []
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, self)
        loop.processes[self.pid] = self

    def run(self, main: Coroutine[Any, Any, int | None]) -> None:
        """Run its main program; the process ends with it, with the exit code that it returns."""
        task = self.loop.create_task(self._main(main), context=self.context)
        task.add_done_callback(lambda _: None)

    async def _main(self, main: Coroutine[Any, Any, int | None]) -> None:
        try:
            code = await main
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # as the interpreter does
            self.loop.note(f"{self.name} broke {type(error).__name__}: {error}")
            self.loop.broken.append(error)
            code = 1
        self.end(((code or 0) & 0xFF) << 8)

    def signal(self, number: int) -> None:
        """Deliver a signal."""
        if self.is_dead:
            return
        if number == signal.SIGKILL:
            self.end(number)
        elif number == signal.SIGSTOP:
            self.freeze()
        elif number == signal.SIGCONT and self.is_frozen:
            self.thaw()
        elif (handler := self.handlers.get(number)) is not None:
            self.loop.call_soon(handler, context=self.context)

    def freeze(self, *, is_seen: bool = True) -> None:
        """Hold its callbacks back. Its parent sees a stopped process, but not one that hangs."""
        if not self.is_frozen and not self.is_dead:
            self.is_frozen = True
            if is_seen:
                self._tell((signal.SIGSTOP << 8) | 0x7F)

    def thaw(self) -> None:
        """Let it go on."""
        if self.is_frozen and not self.is_dead:
            self.is_frozen = False
            self.loop.put_back(self.held)
            self.held = []
            self._tell(0xFFFF)

    def end(self, status: int) -> None:
        """End it at once: nothing of it runs any more."""
        if self.is_dead or self.loop.is_over:
            return
        self.is_dead, self.is_frozen = True, False
        self.held = []
        self.loop.bury(self)
        for act in self.on_death:
            act()
        self._tell(status)

    def _tell(self, status: int) -> None:
        self.news.append(status)
        parent = self.parent
        if parent is not None and not parent.is_dead and (handler := parent.handlers.get(signal.SIGCHLD)):
            self.loop.call_soon(handler, context=parent.context)


PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
"""The process whose code runs."""


def _owned(context: Context) -> Context:
    """Give an empty context, in which the product runs what belongs to no job, to the process whose code runs."""
    if PROCESS not in context:
        context.run(PROCESS.set, PROCESS.get())
    return context


class SimTask(asyncio.Task[Any]):
    """A task whose hash is its number, so that sets of tasks have the same order in each run."""

    def __init__(self, coro: Any, *, loop: SimLoop, number: int, process: Process | None, **options: Any) -> None:
        self.number = number
        self.process = process
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimLoop(asyncio.BaseEventLoop):
    """The event loop.

    Attributes:
        us: Virtual µs since its start.
        note: Writes a line of the trace.
        broken: The exceptions that ended main programs or callbacks.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self.us = 0
        self.note = note
        self.processes: dict[int, Process] = {}
        self.broken: list[BaseException] = []
        self.is_over = False
        self._tasks = 0
        self._turns = 0
        self._graveyard: list[Any] = []
        self._timers: list[tuple[int, int, Any]] = []
        self._timed = 0
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._failed)

    def time(self) -> float:
        """Virtual seconds."""
        return self.us / 1e6

    def next_pid(self) -> int:
        """A number for a process."""
        return 100 + len(self.processes)

    def _make_task(self, _: Any, coro: Any, context: Context | None = None, **options: Any) -> Any:
        if self.is_over:  # a `finally` that starts something
            coro.close()
            return self.create_future()
        self._tasks += 1
        if context is None:
            process = PROCESS.get()
        else:
            process = _owned(context).get(PROCESS)
            options["context"] = context
        return SimTask(coro, loop=self, number=self._tasks, process=process, **options)

    def _failed(self, _: Any, context: dict[str, Any]) -> None:
        if self.is_over:
            return
        process = PROCESS.get()
        error = context.get("exception")
        self.note(f"{process.name if process else '-'} callback-failed {context.get('message')} {error!r}")
        if error is not None:
            self.broken.append(error)

    # --- what runs -------------------------------------------------------------------------------

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]  # asyncio's queue has no public name
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not ready:
            if not timers:
                raise StalledError("nothing is ready and nothing is due, but somebody still waits")
            if timers[0][0] > self.us:
                self.us, self._turns = timers[0][0], 0
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise StalledError(f"time does not pass at {self.us} µs: somebody spins: {list(ready)[:4]}")
        while timers and timers[0][0] <= self.us:
            handle = heapq.heappop(timers)[2]
            if not handle._cancelled:
                ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and (process.is_dead or process.is_frozen):
                if process.is_frozen:
                    process.held.append(handle)
                continue
            handle._run()

    def _us_of(self, when: float) -> int:
        """The nearest µs: rounding up would make each message a µs longer, so that nothing came in the same moment."""
        us = round(min(when, NEVER) * 1e6)
        return us if us > self.us or when <= self.us / 1e6 else self.us + 1  # later is later, or code that waits spins

    def put_back(self, handles: list[asyncio.Handle]) -> None:
        """Let held callbacks run, in their order."""
        loop: Any = self
        loop._ready.extend(handles)

    def bury(self, process: Process) -> None:
        """Keep the tasks of a dead process, so that nothing of their code runs when they would be collected."""
        self._graveyard += [
            task for task in asyncio.all_tasks(self) if isinstance(task, SimTask) and task.process is process
        ]

    def clear(self) -> None:
        """Forget all that is left, at the end of a run. Its code must not do anything any more."""
        self.is_over = True
        loop: Any = self
        loop._ready.clear()
        self._timers.clear()
        tasks = sorted({*asyncio.all_tasks(self), *self._graveyard}, key=lambda task: task.number)
        self._graveyard.clear()
        with warnings.catch_warnings(action="ignore"):
            for task in tasks:
                task._log_destroy_pending = False
                with suppress(BaseException):  # a `finally` that awaits
                    task.get_coro().close()

    # --- what an operating system offers -----------------------------------------------------------

    def _write_to_self(self) -> None:
        """Nothing sleeps."""

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]  # looser types
        """Handle a signal of the process whose code runs."""
        process = PROCESS.get()
        if process is not None:
            process.handlers[int(sig)] = lambda: callback(*args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Handle a signal no more."""
        process = PROCESS.get()
        return process is not None and process.handlers.pop(int(sig), None) is not None

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # looser types
        """Call a function of a thread at once, on the loop."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # the caller gets it
            future.set_exception(error)
        return future

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]  # looser types
        """Call a callback in the next turn; nothing any more at the end of a run."""
        handle = asyncio.Handle(callback, args, self, None if context is None else _owned(context))
        if not self.is_over:
            self._ready.append(handle)  # type: ignore[attr-defined]  # asyncio's own queue has no public name
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # looser types

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:  # type: ignore[override]  # looser types
        """Call a callback at a time; never at the end of a run."""
        handle = asyncio.TimerHandle(when, callback, args, self, None if context is None else _owned(context))
        if not self.is_over:
            self._timed += 1
            heapq.heappush(self._timers, (self._us_of(when), self._timed, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing: a cancelled timer goes when it is due."""
