"""Jobs of every kind for `scripts/soak`; each ends soon, or when it is cancelled."""

from __future__ import annotations

import asyncio
import time

from jobfleet import InvalidJob, JobContext, job

STEP = 0.01


@job(name="soak.nothing")
async def nothing() -> None:
    """End at once, on the loop."""


@job(name="soak.think")
def think(number: int) -> int:
    """End at once, in a thread."""
    return number


@job(name="soak.report")
async def report(ctx: JobContext) -> None:
    """Report progress."""
    for number in range(5):
        ctx.progress(number / 5, "on the way", {"number": number})
        await asyncio.sleep(0)


@job(name="soak.stumble", retry_delay=0.02, max_retries=1)
async def stumble(ctx: JobContext) -> None:
    """Fail once."""
    if ctx.attempt == 1:
        raise ConnectionError("the first time")


@job(name="soak.linger")
async def linger() -> None:
    """Wait on the loop to be cancelled."""
    await asyncio.sleep(600)


@job(name="soak.dawdle")
def dawdle(ctx: JobContext) -> None:
    """Wait in a thread to be cancelled."""
    while True:
        ctx.progress(0.5)
        time.sleep(STEP)


@job(name="soak.tasks")
async def tasks() -> int:
    """How many tasks are on the loop."""
    return len(asyncio.all_tasks())


def isolated(number: int) -> int:
    """End at once, in a process of its own."""
    return number


def stay() -> None:
    """Wait in a process of its own to be cancelled; that ends the process."""
    time.sleep(600)


try:
    job(name="soak.isolated", run_in="process")(isolated)
    job(name="soak.stay", run_in="process")(stay)
except InvalidJob:
    HAS_PROCESSES = False
else:
    HAS_PROCESSES = True
