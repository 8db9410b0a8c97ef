"""Waiting for a condition or a process, with a deadline; tests never sleep for a fixed time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import NoReturn, TypeVar

T = TypeVar("T")

STEP_S, STEP_MAX_S = 0.001, 0.05
PATIENCE_MOST = 4.0
LOOK_S = 1.0
KNOWN, KNOWN_S = 100_000, 0.005
"""How long a calculation is, and the processor time that it takes on the machine of the gate at most."""


def patience() -> float:
    """By how much deadlines are longer now: by how many processes want each processor, and how slow that is.

    A deadline is there to end a test that hangs. It says nothing about the product, so a busy or slow machine may take
    longer.
    """
    return min(PATIENCE_MOST, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)) * slowness())


@cache
def slowness() -> float:
    """How often the processor time of a known calculation has that of a machine on which the deadlines were tried."""
    began = time.thread_time()
    sum(number * number for number in range(KNOWN))
    return max(1.0, (time.thread_time() - began) / KNOWN_S)


def is_late(began: float, timeout: float) -> bool:
    """Whether `timeout` seconds, times `patience()`, have passed since a time of the monotonic clock."""
    passed = time.monotonic() - began
    return passed > timeout and passed > timeout * patience()


def wait_until(condition: Callable[[], T], *, timeout: float = 60.0, why: str = "the condition holds") -> T:
    """Call `condition` in steps, short ones at first, until it gives something true, and return that.

    Raises:
        AssertionError: It did not within `timeout` seconds, times `patience()`; names `why` and the last value.
    """
    began = time.monotonic()
    while not (value := condition()):
        if is_late(began, timeout):
            _give_up(timeout, why, value)
        time.sleep(_step(began))
    return value


async def await_until(
    condition: Callable[[], Awaitable[T]], *, timeout: float = 60.0, why: str = "the condition holds"
) -> T:
    """Await `condition` in steps, short ones at first, until it gives something true, and return that.

    Raises:
        AssertionError: It did not within `timeout` seconds; names `why` and the last value.
    """
    began = time.monotonic()
    while not (value := await condition()):
        if is_late(began, timeout):
            _give_up(timeout, why, value)
        await asyncio.sleep(_step(began))
    return value


def communicate(process: subprocess.Popen[str], given: str | None = None, *, timeout: float) -> tuple[str, str]:
    """Give a process its input, and wait until it has ended; what it has printed.

    Raises:
        subprocess.TimeoutExpired: It has not ended within `timeout` seconds, times `patience()`.
    """
    began = time.monotonic()
    while True:
        try:
            return process.communicate(given, timeout=max(LOOK_S, began + timeout - time.monotonic()))
        except subprocess.TimeoutExpired:
            if is_late(began, timeout):
                raise
            given = None  # it has begun to read it


def next_millisecond() -> None:
    """Wait until jobs and errors get another time: they have theirs in milliseconds."""
    begun = time.time_ns() // 1_000_000
    wait_until(lambda: time.time_ns() // 1_000_000 > begun, why="the clock moves")


def _step(began: float) -> float:
    """A tenth of the time waited so far: many tests wait at once, and would keep the processes from the CPU."""
    return min(STEP_MAX_S, max(STEP_S, (time.monotonic() - began) / 10))


def _give_up(timeout: float, why: str, value: object) -> NoReturn:
    raise AssertionError(f"Waited {timeout:g} s until {why}; last value: {value!r}")
