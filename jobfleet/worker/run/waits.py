"""Waits for the first of several events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


async def any_of(events: Iterable[asyncio.Event | None], timeout: float | None) -> None:
    """Wait until one of the events is set, for at most `timeout` seconds. None is an event that is never set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events if event is not None]
    await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
