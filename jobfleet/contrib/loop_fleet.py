"""An `AsyncFleet` for the event loop of an application, open as long as the application runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from jobfleet.fleet.aio import AsyncFleet
from jobfleet.fleet.default import default_fleet
from jobfleet.fleet.sync import Fleet


@asynccontextmanager
async def loop_fleet(fleet: Fleet | AsyncFleet | None) -> AsyncGenerator[AsyncFleet, None]:
    """Yield the fleet for the running loop, and close its connections at the end.

    Args:
        fleet: The fleet; None for the default fleet.
    """
    opened = (default_fleet() if fleet is None else fleet).for_running_loop()
    try:
        yield opened
    finally:
        await opened.aclose()
