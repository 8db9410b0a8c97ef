"""The thread that listens for a client, the mailboxes in which callers wait, and pauses.

Written by hand, as its twin is: here they differ.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from jobfleet.store.channels import Channels

T = TypeVar("T")
LONGEST = 3600.0
"""Longest time in seconds that a lock can be waited for at once on all platforms."""
CLOSING = 1.0
"""Seconds for which `close` waits for the thread. It is a daemon, and ends later if the server does not reply."""
Act = Callable[[], T]
"""Does something."""

__all__ = ["Act", "Background", "Channels", "Mailbox", "sleep"]


class Mailbox(Generic[T]):
    """Passes items to one waiting caller; safe for threads.

    Args:
        most: The most items that are kept; then the oldest is dropped. None for no limit.
    """

    def __init__(self, most: int | None = None) -> None:
        self._items: SimpleQueue[T] = SimpleQueue()
        self._most = most

    def put(self, item: T) -> None:
        """Add an item."""
        if self._most is not None and self._items.qsize() >= self._most:
            with suppress(Empty):  # the reader was faster
                self._items.get_nowait()
        self._items.put(item)

    def get(self, timeout: float | None) -> T | None:
        """Return the next item; None after `timeout` seconds without one."""
        with suppress(Empty):
            return self._items.get(timeout=None if timeout is None else min(LONGEST, max(0.0, timeout)))
        return None


class Background:
    """A daemon thread of this process."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    @property
    def is_foreign(self) -> bool:
        """Whether this process was forked since, and has neither the thread nor a connection of its own."""
        return self._pid != os.getpid()

    def start(self, run: Callable[[], None]) -> None:
        """Start the thread."""
        thread = threading.Thread(target=run, name="jobfleet-listener", daemon=True)
        thread.start()
        self._thread = thread

    def close(self) -> None:
        """Wait until the thread has ended."""
        thread, self._thread = self._thread, None
        if thread is not None and not self.is_foreign and thread is not threading.current_thread():
            thread.join(CLOSING)


def sleep(seconds: float) -> None:
    """Pause between two reads. It blocks the calling thread, as every operation of this client does."""
    time.sleep(seconds)
