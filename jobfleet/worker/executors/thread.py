"""Threads for ``def`` functions.

Endings come back to the loop in batches: a thread that ends a job appends to a queue and wakes the
loop only if nobody else has, so thousands of short jobs a second do not mean as many wake-ups.

A job is interrupted by an exception that the interpreter raises in its thread at the next bytecode.
It may be raised in that job's code and nowhere else. Two sides see to that without a lock, since a
lock could be held by the very code that is interrupted. Whoever raises says so first and then looks
whether the job still runs; a thread first says that its job is over and then looks whether somebody
raises. So one of them always sees the other, and the thread takes in what comes late.
"""

from __future__ import annotations

import asyncio
import ctypes
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from jobfleet.errors import JobCancelled
from jobfleet.worker.run.current_run import call_within
from jobfleet.worker.run.executor import OnEnd
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.stop_state import Stage

Work = tuple[Run, Callable[..., Any], list[Any], dict[str, Any], OnEnd]

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
_raise_in.restype = ctypes.c_int
_clear = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


class Seat:
    """One thread of the pool, and what runs in it.

    Attributes:
        ident: The thread.
        run: The run whose code it is in; None outside of user code.
        is_aimed_at: Whether somebody is about to raise in it.
        was_hit: Whether somebody has, since its job began.
    """

    __slots__ = ("ident", "is_aimed_at", "run", "was_hit")

    def __init__(self) -> None:
        self.ident = 0
        self.run: Run | None = None
        self.is_aimed_at = False
        self.was_hit = False

    def hit(self, run: Run) -> None:
        """Raise `JobCancelled` in the thread, if it still runs that; called on the loop."""
        self.is_aimed_at = True
        try:
            if self.run is run:
                self.was_hit = True
                _raise_in(self.ident, JobCancelled)
        finally:
            self.is_aimed_at = False

    def call(self, run: Run, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Run a job's code; answer its value and its error."""
        value: Any = None
        error: BaseException | None = None
        try:
            self.run = run
            try:
                if run.stop.interruption is None:
                    value = call_within(run, function, args, kwargs)
                else:  # it was told to stop before it came here
                    error = JobCancelled()
            except BaseException as raised:  # noqa: BLE001 - whatever the user's code raises is an outcome
                self.run = None  # first of all: no bytecode before it can be interrupted
                error = raised
            self.run = None
        except BaseException as late:  # noqa: BLE001 - an interruption that came when the job's code had just ended
            self.run = None
            if value is None and error is None:
                error = late
        if self.is_aimed_at or self.was_hit:
            try:
                self._take_in()
            except JobCancelled:
                self._take_in()
        try:
            return value, error
        finally:
            del error  # its traceback holds this frame: a circle with the job's arguments would be left

    def _take_in(self) -> None:
        """Wait for whoever raises just now, and drop what was raised too late; no more can come after it."""
        while self.is_aimed_at:
            time.sleep(0)
        _clear(self.ident, None)
        self.was_hit = False


class ThreadExecutor:
    """A pool of threads, as many as jobs run at once.

    A thread that is in a call of C is interrupted when the call returns; until then, and while its job does
    not heed the interruption, it is no free thread.
    """

    stages: tuple[Stage, ...] = (Stage.RAISED,)

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._ended: deque[tuple[OnEnd, Any, BaseException | None]] = deque()
        self._seats: list[Seat] = []
        self._is_woken = False
        self._busy = 0

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function in a thread; `on_end` is called on the loop with its value or its error."""
        self._busy += 1
        if self._busy > len(self._seats):
            self._grow()
        self._work.put((run, handler.call, args, kwargs, on_end))

    def stop(self, run: Run, stage: Stage) -> None:
        """Raise `JobCancelled` in the job's code; one that has not begun sees by itself that it is to stop."""
        if stage is not Stage.RAISED:
            return
        seat = next((seat for seat in self._seats if seat.run is run), None)
        if seat is not None:
            seat.hit(run)
        elif run.task is not None:  # it is in what stands around it, on the loop
            run.task.cancel()

    def _grow(self) -> None:
        seat = Seat()
        number = len(self._seats)
        self._seats.append(seat)
        threading.Thread(target=self._serve, args=(seat,), name=f"jobfleet-job-{number}", daemon=True).start()

    def _serve(self, seat: Seat) -> None:
        seat.ident = threading.get_ident()
        while (work := self._work.get()) is not None:
            run, function, args, kwargs, on_end = work
            value, error = seat.call(run, function, args, kwargs)
            self._ended.append((on_end, value, error))
            del work, run, function, args, kwargs, on_end, value, error
            if not self._is_woken:
                self._is_woken = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:  # the loop is closed: the worker is gone
                    return

    def _deliver(self) -> None:
        self._is_woken = False  # first, so that whoever appends from here on wakes the loop again
        while self._ended:
            on_end, value, error = self._ended.popleft()
            self._busy -= 1
            on_end(value, error)

    def flush(self) -> None:
        """Nothing waits for others here."""

    def close(self) -> None:
        """Let idle threads end; one that still runs a job is a daemon and dies with the process."""
        for _ in self._seats:
            self._work.put(None)
