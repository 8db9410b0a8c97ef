"""Jobs of every kind of ending, for a fleet that is watched from all sides."""

from __future__ import annotations

import asyncio

from jobfleet import JobContext, job


@job(name="ops.add")
def add(one: int, other: int) -> int:
    return one + other


@job(name="ops.wait")
async def wait(number: int) -> int:
    await asyncio.sleep(0.02)
    return number


@job(name="ops.shaky", max_retries=3, retry_delay=0.2)
async def shaky(ctx: JobContext, number: int) -> int:
    if ctx.attempt == 1:
        raise ConnectionError(f"no answer to {number}")
    return number


@job(name="ops.broken")
def broken(number: int) -> None:
    raise ValueError(f"order {number} has no price")
