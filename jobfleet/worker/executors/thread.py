"""Threads for ``def`` functions.

Endings come back to the loop in batches: a thread that ends a job appends to a queue and wakes the
loop only if nobody else has, so thousands of short jobs a second do not mean as many wake-ups.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from jobfleet.worker.current import call_within
from jobfleet.worker.executors.executor import OnEnd, Stage
from jobfleet.worker.handlers import Handler
from jobfleet.worker.run import Run

Work = tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]


class ThreadExecutor:
    """A pool of threads that grows with what is asked of it.

    A thread can only be asked: its stop is the flag that the next progress report sees.

    Args:
        most: Threads at most.
    """

    stages: tuple[Stage, ...] = ()

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._ended: deque[tuple[Callable[[Any, BaseException | None], None], Any, BaseException | None]] = deque()
        self._threads: list[threading.Thread] = []
        self._is_woken = False
        self._busy = 0

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function in a thread; `on_end` is called on the loop with its value or its error."""
        call = handler.call
        self._busy += 1
        if self._busy > len(self._threads) < self._most:
            self._grow()
        self._work.put((lambda: call_within(run, call, args, kwargs), on_end))

    def stop(self, run: Run, stage: Stage) -> None:
        """Nothing that a thread can be made to do."""

    def _grow(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"jobfleet-job-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            function, on_end = work
            value: Any = None
            error: BaseException | None = None
            try:
                value = function()
            except BaseException as raised:  # noqa: BLE001 - whatever the user's code raises is an outcome
                error = raised
            self._ended.append((on_end, value, error))
            del work, function, on_end, value, error
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

    def close(self) -> None:
        """Let idle threads end; one that still runs a job is a daemon and dies with the process."""
        for _ in self._threads:
            self._work.put(None)
