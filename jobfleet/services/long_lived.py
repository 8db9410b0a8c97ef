"""What processes that live long need: tasks that restart after errors, rare logs of a repeated fault, early signals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import NamedTuple, NoReturn, TypeVar

from jobfleet.clock import monotonic
from jobfleet.errors import EXIT_OK, JobfleetError

# The wrapper of every task that lives as long as its process: an error restarts the task.
#
# Such a task ends with its process only. Without the wrapper, one unexpected error would end it for good and in
# silence: leases would not be renewed any more, or commands would not be heard.


T = TypeVar("T")


class Restarts(NamedTuple):
    """How a task is restarted.

    Attributes:
        first: Seconds before the first restart; doubled for each further one.
        longest: Maximum seconds before a restart. It is short, because leases expire meanwhile.
        steady: Seconds without an error after which the task counts as recovered; infinite if the task says so itself.
    """

    first: float = 0.1
    longest: float = 2.0
    steady: float = 10.0


RESTARTS = Restarts()


async def keep_running(
    work: Callable[[], Awaitable[None]],
    faults: RepeatedFault,
    *,
    restarts: Restarts = RESTARTS,
    on_failure: Callable[[BaseException], None] = lambda _: None,
) -> None:
    """Run `work` until it returns. If it fails, report that once, and restart it after a pause.

    Args:
        work: Does the work until it is cancelled, or until nothing is left to do.
        faults: Reports the failures.
        restarts: How it is restarted.
        on_failure: Called with each error.
    """
    pause, is_first = restarts.first, True
    while True:
        began = monotonic()
        recovery = None
        if not is_first and restarts.steady != inf:
            recovery = asyncio.get_running_loop().call_later(restarts.steady, faults.succeeded)
        try:
            await work()
            return
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure: BaseException = error  # something inside was cancelled, not this task
        except Exception as error:  # noqa: BLE001 - whatever it is, the work must go on
            failure = error
        finally:
            if recovery is not None:
                recovery.cancel()
        is_first = False
        on_failure(failure)
        if isinstance(failure, JobfleetError):
            faults.failed(str(failure))
        else:
            faults.failed(describe(failure), level=logging.ERROR, error=failure)
        if monotonic() - began > restarts.steady:
            pause = restarts.first
        await asyncio.sleep(pause)
        pause = min(2 * pause, restarts.longest)


def start(
    work: Callable[[], Awaitable[None]],
    log: logging.Logger,
    name: str,
    *,
    on_failure: Callable[[BaseException], None] = lambda _: None,
) -> asyncio.Task[None]:
    """Start `keep_running` as a task on the running event loop.

    Args:
        work: Does the work until it is cancelled, or until nothing is left to do.
        log: Gets the reports of failures.
        name: Begins each report.
        on_failure: Called with each error.
    """
    running = keep_running(work, RepeatedFault(log, name), on_failure=on_failure)
    return asyncio.get_running_loop().create_task(running)


def describe(error: BaseException) -> str:
    """The text of an error, with its class if it is unexpected."""
    return str(error) if isinstance(error, JobfleetError) else f"{type(error).__name__}: {error}"


def for_each(things: Iterable[T], act: Callable[[T], None]) -> None:
    """Call `act` with each thing, also after it has failed for one of them.

    Raises:
        Exception: The first error of `act`, after the last call.
    """
    failure: Exception | None = None
    for thing in things:
        try:
            act(thing)
        except Exception as error:  # noqa: BLE001 - raised at the end
            failure = failure or error
    if failure is not None:
        raise failure


AGAIN = 60.0
"""Seconds between the lines of one fault."""


class RepeatedFault:
    """Logs the faults of an action that is retried: one line first, one per minute while they last, one at the end.

    Args:
        log: The logger.
        name: The name of the action; it begins each line.
        began: What follows the name in the lines of the fault.
        ended: What follows it in the line at the end.
    """

    def __init__(self, log: logging.Logger, name: str, *, began: str = "stumbled", ended: str = "recovered") -> None:
        self._log = log
        self._beginning = f"{name}.{began}"
        self._end = f"{name}.{ended}"
        self._began: float | None = None
        self._spoke_at = 0.0
        self._text = ""
        self._times = 0

    def failed(self, text: str, *, level: int = logging.WARNING, error: BaseException | None = None) -> None:
        """Record a failure; the same text within a minute is only counted.

        Args:
            text: The reason.
            level: The level of the log line.
            error: The exception, if its traceback is to be logged.
        """
        now = monotonic()
        self._times += 1
        if self._began is None:
            self._began = now
        elif text == self._text and now - self._spoke_at < AGAIN:
            return
        self._text, self._spoke_at = text, now
        more = f" (failed {self._times} times in {now - self._began:.0f} s)" if self._times > 1 else ""
        self._log.log(level, "%s %s%s", self._beginning, text, more, exc_info=error)

    def succeeded(self) -> None:
        """Record that the task ran without an error, which ends the back-off."""
        if self._began is not None:
            seconds, times = monotonic() - self._began, self._times
            self._began, self._times, self._text = None, 0, ""
            self._log.info("%s after=%.1fs failures=%d", self._end, seconds, times)


# The signals of a process that has just been started.
#
# Python needs some tenths of a second to import what such a process runs. Until then, Ctrl-C would end it with a
# traceback.


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
    """Ignore signals from now on, and drop those that were held back."""
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
