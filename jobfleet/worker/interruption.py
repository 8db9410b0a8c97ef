"""Ctrl-C in a program that has a worker: the first one drains the worker, the second one stops it now."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType


class Stop(threading.Event):
    """Ends a worker from another thread, and shows that thread when the worker is ready.

    Attributes:
        ready: Set with the first heartbeat of the worker.
        grace: Seconds that running jobs may take to end; None for the setting `grace`. It must be set before `set`.
        hurried: Set it to end the grace period early.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ready = threading.Event()
        self.grace: float | None = None
        self.hurried = threading.Event()


def announce(grace: float) -> None:
    """Print that the worker drains."""
    sys.stderr.write(f"\rStopping: running jobs have up to {grace:g} s to end. Press Ctrl-C again to stop now.\n")


def handles_signals() -> bool:
    """Whether Ctrl-C may be handled here: in the main thread of a program that does not handle it itself."""
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


@contextmanager
def signals_handled(handler: Callable[[], None]) -> Iterator[None]:
    """Call `handler` on the running loop at each INT or TERM, while the block runs."""
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT]
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        numbers.append(signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class ProgramInterruption:
    """Ctrl-C in a program whose worker runs in another thread.

    The first one raises `KeyboardInterrupt` in the main thread as usual, but an uncaught one prints no traceback. While
    the worker drains, the next one ends its grace period.

    Args:
        stop: Stops the worker.

    Attributes:
        was_interrupted: Whether Ctrl-C was pressed.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._shown: Callable[[type[BaseException], BaseException, TracebackType | None], object] = sys.excepthook
        self._is_installed = False
        self._hears: socket.socket | None = None
        self._written: socket.socket | None = None
        self.was_interrupted = False

    def install(self) -> None:
        """Handle Ctrl-C from now on, unless the program does, or is an interactive session."""
        if handles_signals() and not hasattr(sys, "ps1"):
            signal.signal(signal.SIGINT, self._interrupt)
            self._shown, sys.excepthook = sys.excepthook, self._show
            self._is_installed = True

    def remove(self) -> None:
        """Leave Ctrl-C to the program again; only the main thread can do that."""
        if not self._is_installed or threading.current_thread() is not threading.main_thread():
            return
        self._is_installed = False
        if signal.getsignal(signal.SIGINT) == self._interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if sys.excepthook == self._show:
            sys.excepthook = self._shown
        if self._written is not None:
            if (other := signal.set_wakeup_fd(-1)) != self._written.fileno():
                signal.set_wakeup_fd(other)
            self._written.close()  # which ends `hurry`
            self._written = None

    def listen(self) -> None:
        """Let `hurry` hear of each Ctrl-C from now on, and of none before, if the main thread calls this.

        Python calls a handler in the main thread only, and a thread that is about to wait for a lock when the signal
        arrives comes to its handler with the next signal. So the number is also written to a socket, which happens at
        once, unless somebody else in this program has them written already.
        """
        if self._hears is not None:
            with suppress(BlockingIOError):
                while self._hears.recv(4096, socket.MSG_DONTWAIT):
                    pass
        elif self._is_installed and threading.current_thread() is threading.main_thread():
            hears, written = socket.socketpair()
            written.setblocking(False)
            if (other := signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)) != -1:
                signal.set_wakeup_fd(other)
                hears.close()
                written.close()
            else:
                self._hears, self._written = hears, written

    def hurry(self) -> None:
        """End the grace period of the worker at the next Ctrl-C. It returns when Ctrl-C is the program's again."""
        if self._hears is None:
            return
        with self._hears as hears:
            while numbers := hears.recv(4096):
                if signal.SIGINT in numbers:
                    self._stop.hurried.set()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._stop.is_set():
            self._stop.hurried.set()
            return
        self.was_interrupted = True
        self.listen()
        raise KeyboardInterrupt

    def _show(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            self._shown(kind, error, trace)
