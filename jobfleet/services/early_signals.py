"""Keeps the signals of a terminal from a process that has just been started.

Python needs some tenths of a second to import what such a process runs. Until then, Ctrl-C would end it with a
traceback.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager


@contextmanager
def held_back(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """Block signals in this thread. A process that is started in the block begins with them blocked.

    Args:
        numbers: The signals. The process must pass them to `ignore`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore(numbers: Collection[signal.Signals]) -> None:
    """Ignore signals from now on, with those that were held back."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
