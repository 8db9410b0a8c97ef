"""A job that emits numbers, in blocks, until a file is there."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path

from jobfleet import JobContext, job

ENOUGH = Path(os.environ.get("JOBFLEET_TEST_FOLDER", ".")) / "enough"
BLOCK = 20


@job(name="talk.on", max_crashes=1000)
async def on(ctx: JobContext) -> int:
    """Emit 0, 1, 2, …; return how many there were."""
    for begin in itertools.count(0, BLOCK):
        if ENOUGH.exists():
            return begin
        for n in range(begin, begin + BLOCK):
            await ctx.emit(n)
        await asyncio.sleep(0.01)
    raise AssertionError
