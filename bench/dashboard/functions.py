"""Jobs that fail with some dozens of different errors, and jobs that take a moment."""

from __future__ import annotations

import asyncio

from jobfleet import JobContext, job

ERRORS = (ValueError, KeyError, RuntimeError, ConnectionError, LookupError)


@job(name="bench.fail")
async def fail(number: int) -> None:
    """Fail with one of forty errors."""
    kind = ERRORS[number % len(ERRORS)]
    raise kind(f"the {'abcdefgh'[number // len(ERRORS)]} provider refused it")


@job(name="bench.wait")
async def wait(number: int) -> int:
    """End at once."""
    return number


@job(name="bench.moment")
async def moment(ctx: JobContext, seconds: float) -> None:
    """Take a moment, and report progress."""
    for part in range(4):
        ctx.progress(part / 4, "working")
        await asyncio.sleep(seconds / 4)
