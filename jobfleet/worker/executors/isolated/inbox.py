"""`Inbox`: the frames of an isolated process reach the thread that needs them without a change of threads per job.

Between two jobs, the main thread reads the channel itself. While a job runs, the main thread cannot read. If the job
is still running after a few milliseconds, or awaits an answer, a thread reads in its place, until the next order.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

TICK = 0.005
"""Seconds between two checks of whether the same job is still running. A stop reaches a job within two."""

ORDERS = ("run", "leave")
"""The frames for the main thread."""


class Frames(Iterator[list[Any]], Protocol):
    """Waits for frames."""

    def arrived(self) -> list[Any] | None:
        """A frame that has arrived with the one before; None if there is none."""


class Inbox:
    """Receives the frames of one isolated process.

    Args:
        frames: The frames from the worker's process.
        on_frame: Called with each frame that is not an order, in the thread that reads.
        on_cut: Called when the worker's process is gone, or reading fails in the thread; it ends this process.
    """

    def __init__(self, frames: Frames, on_frame: Callable[[list[Any]], None], on_cut: Callable[[], None]) -> None:
        self._frames, self._on_frame, self._on_cut = frames, on_frame, on_cut
        self._lock = threading.Lock()
        self._begun, self._hurry = threading.Event(), threading.Event()
        self._orders: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self._job = 0
        self._is_idle, self._is_over = True, False
        self._thread_reads = False

    def start(self) -> None:
        """Start the thread that reads while a job runs."""
        threading.Thread(target=self._read, name="jobfleet-reader", daemon=True).start()

    def next_order(self) -> list[Any]:
        """Wait for the next order. Only the main thread calls this; it calls `begun` if the order is a job."""
        with self._lock:
            self._is_idle = True
            reads_itself = not self._thread_reads and self._orders.empty()
        if not reads_itself:
            return self._orders.get()
        order = self._next()
        if order is None:
            self._on_cut()
        return order or ["leave"]

    def begun(self) -> None:
        """A job begins. What has arrived about it is taken now; from now on the thread may read."""
        while (frame := self._frames.arrived()) is not None:
            self._orders.put(frame) if frame[0] in ORDERS else self._on_frame(frame)
        self._job += 1
        self._is_idle = False
        if not self._begun.is_set():
            self._begun.set()

    def attend(self) -> None:
        """Read now, because the running job awaits an answer. Any thread may call this."""
        with self._lock:
            if self._thread_reads:
                return
            self._hurry.set()
            self._begun.set()

    def close(self) -> None:
        """The main thread takes no more orders. The thread notices if the worker's process ends meanwhile."""
        self._is_over = True
        self.begun()
        self.attend()

    def _read(self) -> None:
        try:
            while True:
                self._begun.wait()
                self._begun.clear()
                job = self._job  # read after the clearing: a job that begins later sets it again
                self._hurry.wait(TICK)
                if not self._take_over(job):
                    continue
                order = self._next()
                while self._is_over and order is not None:
                    order = self._next()
                if order is None:
                    return
                with self._lock:
                    self._thread_reads = False
                    self._orders.put(order)
        finally:  # also when reading fails: a process that cannot be stopped must not stay
            self._on_cut()

    def _take_over(self, job: int) -> bool:
        """Let the thread read if the same job is still running, or if any job awaits an answer."""
        with self._lock:
            is_hurried = self._hurry.is_set()
            self._hurry.clear()
            if self._is_idle or (job != self._job and not is_hurried):
                return False
            self._thread_reads = True
            return True

    def _next(self) -> list[Any] | None:
        """Read until the next order; None if the worker's process is gone."""
        for frame in self._frames:
            if frame[0] in ORDERS:
                return frame
            self._on_frame(frame)
        return None
