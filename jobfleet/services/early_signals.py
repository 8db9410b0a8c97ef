"""The signals of a process that has just been started.

Python needs some tenths of a second to import what such a process runs. Until then, Ctrl-C would end it with a
traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from jobfleet.errors import EXIT_OK


@contextmanager
def held_back(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """Block signals in this thread. A process that is started in the block begins with them blocked.

    Args:
        numbers: The signals. The process must pass them to `ignore` or `leave_on`.
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


def leave_on(number: signal.Signals) -> None:
    """End this process at once when a signal arrives, also if it was held back. Nothing is lost before it has begun."""
    signal.signal(number, _leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))


def stay_on(number: signal.Signals) -> None:
    """Ignore a signal that `leave_on` has handled. A handler that the user's module has installed meanwhile stays."""
    if signal.getsignal(number) is _leave:
        signal.signal(number, signal.SIG_IGN)


def _leave(_number: int, _frame: object) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the signal may have interrupted a write to it
            stream.flush()
    os._exit(EXIT_OK)
