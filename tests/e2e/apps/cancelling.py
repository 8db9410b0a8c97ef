"""Jobs that are cancelled while they run, each with another way to take it: for scripts/cancel-times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from jobfleet import InvalidJob, JobCancelled, JobContext, job

LONG = 60.0


@job(name="stop.coroutine")
async def coroutine() -> None:
    """Await something for long."""
    await asyncio.sleep(LONG)


@job(name="stop.blind_coroutine")
async def blind_coroutine(ctx: JobContext) -> None:
    """Have a context, and never look."""
    del ctx
    await asyncio.sleep(LONG)


@job(name="stop.deaf_coroutine")
async def deaf_coroutine() -> None:
    """Swallow every cancellation."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue


@job(name="stop.blocking_coroutine")
async def blocking_coroutine() -> None:
    """Block the loop."""
    time.sleep(LONG)


@job(name="stop.thread")
def thread() -> None:
    """Compute for long."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        pass


@job(name="stop.looking_thread")
def looking_thread(ctx: JobContext) -> None:
    """Look ten times a second whether to stop."""
    while not ctx.cancelled:
        time.sleep(0.1)
    raise JobCancelled


@job(name="stop.sleeping_thread")
def sleeping_thread() -> None:
    """Be in a call that does not return for long."""
    time.sleep(LONG)


@job(name="stop.deaf_thread")
def deaf_thread() -> None:
    """Swallow every interruption."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except JobCancelled:
            continue


def process() -> None:
    """Be in a call that does not return for long, in a process of its own."""
    time.sleep(LONG)


def deaf_process() -> None:
    """Swallow every interruption and signal, in a process of its own."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deaf_thread()


def _isolate(**functions: Callable[..., Any]) -> bool:
    """Register what runs in a process of its own, where that is possible."""
    try:
        for name, function in functions.items():
            job(name=f"stop.{name}", run_in="process")(function)
    except InvalidJob:
        return False
    return True


HAS_PROCESSES = _isolate(process=process, deaf_process=deaf_process)
