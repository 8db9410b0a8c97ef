"""The executors inside the child's process: its event loop for ``async def`` functions, threads for ``def`` ones."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import inspect
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any
from weakref import WeakSet

from jobfleet.errors import JobCancelled
from jobfleet.worker.run.handlers import HERE, Handler
from jobfleet.worker.run.interfaces import Executor, OnEnd
from jobfleet.worker.run.log_capture import CURRENT
from jobfleet.worker.run.run import Run, Stage


class LoopExecutor:
    """Runs coroutines, each in its own task."""

    stages: tuple[Stage, ...] = (Stage.RAISED,)

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function in its own task, in a copy of the worker's context.

        The code that starts a run may run in the context of another job.
        """
        context = self._context.copy()
        run.task = self._loop.create_task(_await(run, handler.call, args, kwargs, on_end), context=context)

    def stop(self, run: Run, stage: Stage) -> None:
        """Raise `asyncio.CancelledError` in the coroutine."""
        if stage is not Stage.RAISED or run.task is None:
            return
        if inspect.getcoroutinestate(run.task.get_coro()) == inspect.CORO_CREATED:  # type: ignore[arg-type]  # ours is one
            self._loop.call_soon(self.stop, run, stage)  # one that has not begun would end without on_end
        else:
            run.task.cancel()

    def flush(self) -> None:
        """Nothing waits for others here."""

    def close(self) -> None:
        """No-op: this executor keeps no idle resources."""


async def _await(run: Run, call: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
    CURRENT.set(run)
    if run.span is not None:
        run.span.enter()
    try:
        if run.is_late:
            await run.before_late_call()
        value = await call(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
        run.task = None
        on_end(None, error)
    else:
        run.task = None  # the task's context holds the run, which would be a reference cycle
        on_end(value, None)


# Threads for ``def`` functions.
#
# Endings come back to the event loop in batches. A thread that ends a job appends to a queue, and wakes the loop only
# if no other thread has done so. So thousands of short jobs per second do not cause as many wake-ups.
#
# A job is interrupted by an exception that the interpreter raises in its thread at the next bytecode. It may be
# raised in that job's code and nowhere else. Two sides ensure this without a lock, because the interrupted code could
# hold the lock. The raising side sets a flag first and then checks whether the job still runs. The thread first marks
# its job as over and then checks the flag. So one of them always sees the other, and the thread discards a late
# exception.
#
# The interpreter ignores an exception that it raises in a finalizer or in a weakref callback, which can begin at any
# line. The job would go on as if nobody had stopped it. So a hook for ignored exceptions raises it again.


Work = tuple[Run, Callable[..., Any], list[Any], dict[str, Any], OnEnd]

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
_raise_in.restype = ctypes.c_int
_clear = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


class JobThread:
    """One thread of the pool, and the run in it.

    Attributes:
        ident: The id of the thread.
        run: The run whose code it executes; None outside of user code.
        is_targeted: Whether the event loop is about to raise in it.
        was_interrupted: Whether the event loop has raised in it since its job began.
        in_hook: Whether it is in the hook for ignored exceptions, where an interruption would be lost as well.

    Args:
        loop: The event loop of its pool.
    """

    __slots__ = ("__weakref__", "_loop", "ident", "in_hook", "is_targeted", "run", "was_interrupted")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.ident = 0
        self.run: Run | None = None
        self.is_targeted = False
        self.was_interrupted = False
        self.in_hook = False

    def interrupt(self, run: Run) -> None:
        """Raise `JobCancelled` in the thread, if it still executes that run. Called on the event loop."""
        while self.in_hook:  # for a few lines, which end with no lock of ours; this lets the thread have them
            time.sleep(0)
        self.is_targeted = True
        try:
            if self.run is run:
                self.was_interrupted = True
                _raise_in(self.ident, JobCancelled)
        finally:
            self.is_targeted = False

    def call(self, run: Run, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Run a job's code. Returns its value and its error."""
        value: Any = None
        error: BaseException | None = None
        try:
            self.run = run
            try:
                if run.stop.interruption is None:
                    value = copy_context().run(_call, run, function, args, kwargs)
                else:  # it was stopped while it waited for this thread
                    error = JobCancelled()
            except BaseException as raised:  # noqa: BLE001 - whatever the user's code raises is an outcome
                self.run = None  # first of all: no bytecode may come before this
                error = raised
            self.run = None
        except BaseException as late:  # noqa: BLE001 - an interruption just after the end of the job's code
            self.run = None
            if value is None and error is None:
                error = late
        if self.is_targeted or self.was_interrupted:
            try:
                self._discard_late()
            except JobCancelled:
                self._discard_late()
        try:
            return value, error
        finally:
            del error  # its traceback holds this frame: that would be a reference cycle with the job's arguments

    def ask_again(self) -> None:
        """Let the event loop raise again, if the job still runs. Called in the thread itself, by the hook."""
        run = self.run
        if run is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker is gone
                self._loop.call_soon_threadsafe(self.interrupt, run)

    def _discard_late(self) -> None:
        """Wait until the event loop has raised, and discard that exception. No other one can follow."""
        while self.is_targeted:
            time.sleep(0)
        _clear(self.ident, None)
        self.was_interrupted = False


def _call(run: Run, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call the function in a context of its own: the context variables that it sets must not reach the next job."""
    CURRENT.set(run)
    if run.span is not None:
        run.span.enter()
    if run.is_late:
        run.block(run.before_late_call())
    return function(*args, **kwargs)


_current = threading.local()
"""Its `thread` is the `JobThread` of a thread of a pool."""


@functools.cache
def keep_interruptions() -> None:
    """Let no finalizer swallow an interruption. Other ignored exceptions are shown as before."""
    show = sys.unraisablehook

    def hear(ignored: sys.UnraisableHookArgs) -> None:
        thread: JobThread | None = getattr(_current, "thread", None)
        if thread is not None and thread.was_interrupted and ignored.exc_type is JobCancelled:
            thread.in_hook = True
            thread.ask_again()
            thread.in_hook = False  # the last line: from here on, no bytecode before the return can raise
        else:
            show(ignored)

    sys.unraisablehook = hear


_started: WeakSet[JobThread] = WeakSet()
"""The threads of all pools of this process."""


def runs_in_threads() -> dict[int, Run]:
    """Return the runs whose code threads of this process execute, by the id of the thread. Any thread may ask."""
    return {thread.ident: run for thread in list(_started) if (run := thread.run) is not None}


class ThreadExecutor:
    """A pool of threads, as many as jobs run at once.

    A thread in a C function is interrupted when that function returns. Until then it is not free, and neither is it
    while its job ignores the interruption.
    """

    stages: tuple[Stage, ...] = (Stage.RAISED,)

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._ended: deque[tuple[OnEnd, Any, BaseException | None]] = deque()
        self._threads: list[JobThread] = []
        self._is_woken = False
        self._busy = 0

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function in a thread, then `on_end` on the event loop with its value or its error."""
        self._busy += 1
        if self._busy > len(self._threads):
            self._grow()
        self._work.put((run, handler.call, args, kwargs, on_end))

    def stop(self, run: Run, stage: Stage) -> None:
        """Raise `JobCancelled` in the job's code. A job that has not begun checks its stop state itself."""
        if stage is not Stage.RAISED:
            return
        thread = next((thread for thread in self._threads if thread.run is run), None)
        if thread is not None:
            thread.interrupt(run)
        elif run.task is not None:  # its middleware or its hooks run, on the event loop
            run.task.cancel()

    def _grow(self) -> None:
        keep_interruptions()
        thread = JobThread(self._loop)
        number = len(self._threads)
        self._threads.append(thread)
        threading.Thread(target=self._serve, args=(thread,), name=f"jobfleet-job-{number}", daemon=True).start()

    def _serve(self, thread: JobThread) -> None:
        thread.ident = threading.get_ident()
        _current.thread = thread
        _started.add(thread)
        while (work := self._work.get()) is not None:
            run, function, args, kwargs, on_end = work
            value, error = thread.call(run, function, args, kwargs)
            self._ended.append((on_end, value, error))
            del work, run, function, args, kwargs, on_end, value, error
            if not self._is_woken:
                self._is_woken = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:  # the loop is closed: the worker is gone
                    return

    def _deliver(self) -> None:
        self._is_woken = False  # first, so that a later thread wakes the loop again
        while self._ended:
            on_end, value, error = self._ended.popleft()
            self._busy -= 1
            on_end(value, error)

    def flush(self) -> None:
        """Nothing waits for others here."""

    def close(self) -> None:
        """End idle threads. A thread that still runs a job is a daemon thread and dies with the process."""
        for _ in self._threads:
            self._work.put(None)


def local_executors() -> dict[str, Executor]:
    """Create the executors inside this process, by their places, on the running event loop."""
    made: tuple[Executor, ...] = (LoopExecutor(), ThreadExecutor())
    return dict(zip(HERE, made, strict=True))
