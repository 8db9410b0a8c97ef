"""The wrapper of every task that lives as long as its process: an error restarts the task.

Such a task ends with its process only. Without the wrapper, one unexpected error would end it for good and in silence:
leases would not be renewed any more, or commands would not be heard.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import NamedTuple, TypeVar

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError
from jobfleet.services.repeated_fault import RepeatedFault

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
            recovery = asyncio.get_running_loop().call_later(restarts.steady, faults.fine)
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
