"""Waiting for a condition, with a deadline; tests never sleep for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

T = TypeVar("T")

STEP_S = 0.005


def wait_until(condition: Callable[[], T], *, timeout: float = 60.0, why: str = "the condition holds") -> T:
    """Call `condition` in short steps until it gives something true, and return that.

    Raises:
        AssertionError: It did not within `timeout` seconds; names `why` and the last value.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            _give_up(timeout, why, value)
        time.sleep(STEP_S)
    return value


async def await_until(
    condition: Callable[[], Awaitable[T]], *, timeout: float = 60.0, why: str = "the condition holds"
) -> T:
    """Await `condition` in short steps until it gives something true, and return that.

    Raises:
        AssertionError: It did not within `timeout` seconds; names `why` and the last value.
    """
    deadline = time.monotonic() + timeout
    while not (value := await condition()):
        if time.monotonic() > deadline:
            _give_up(timeout, why, value)
        await asyncio.sleep(STEP_S)
    return value


def _give_up(timeout: float, why: str, value: object) -> NoReturn:
    raise AssertionError(f"Waited {timeout:g} s until {why}; last value: {value!r}")
