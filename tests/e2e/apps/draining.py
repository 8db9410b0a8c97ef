"""Jobs that go on where they stopped when their worker drains, and process hooks; they write down what they do."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from jobfleet import BatchItem, JobContext, hooks, job

FOLDER = Path(os.environ.get("JOBFLEET_TEST_FOLDER", "."))
STEP = 0.01


def tell(what: str) -> None:
    """Append one line, in one write."""
    descriptor = os.open(FOLDER / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{what}\n".encode())
    finally:
        os.close(descriptor)


if os.environ.get("DRAINING_HOOKS"):

    @hooks.on_start
    async def warm_up() -> None:
        """Take as long as the test likes, or fail."""
        tell(f"start {os.getpid()}")
        while os.environ["DRAINING_HOOKS"] == "wait" and not (FOLDER / "warm").exists():
            await asyncio.sleep(STEP)
        if os.environ["DRAINING_HOOKS"] == "fail":
            raise ConnectionError("no model server")

    @hooks.on_start
    def second() -> None:
        """The second hook."""
        tell("second start")

    @hooks.on_stop
    def cool_down() -> None:
        """Write down the end."""
        tell(f"stop {os.getpid()}")

    @hooks.on_stop
    async def last() -> None:
        """Called first, because it was added last; its error is logged."""
        tell("last stop")
        raise ValueError("no matter")


@job(name="drain.nothing")
async def nothing() -> int:
    """Run in a child."""
    return os.getpid()


@job(name="drain.apart", run_in="process")
def apart() -> int:
    """Run in an isolated process."""
    return os.getpid()


@job(name="drain.on_loop")
async def on_loop(ctx: JobContext) -> tuple[int, int]:
    """Count rows until the worker drains; then count one more elsewhere."""
    row = await ctx.checkpoint("row", default=0)
    if row:
        return row, ctx.attempt
    tell(f"begin {ctx.stopping}")
    while not ctx.stopping:
        await asyncio.sleep(STEP)
    await ctx.checkpoint("row", 7)
    raise AssertionError("the checkpoint has not ended the run")


@job(name="drain.in_thread")
def in_thread(ctx: JobContext) -> tuple[int, int]:
    """Do the same in a thread."""
    row = ctx.checkpoint_sync("row", default=0)
    if row:
        return row, ctx.attempt
    tell(f"begin {ctx.stopping}")
    while not ctx.stopping:
        time.sleep(STEP)
    ctx.checkpoint_sync("row", 7)
    raise AssertionError("the checkpoint has not ended the run")


@job(name="drain.isolated", run_in="process")
def isolated(ctx: JobContext) -> tuple[int, int]:
    """Do the same in an isolated process."""
    return in_thread(ctx)


@job(name="drain.isolated_async", run_in="process")
async def isolated_async(ctx: JobContext) -> tuple[int, int]:
    """Do the same there on an event loop."""
    return await on_loop(ctx)


@job(name="drain.bare")
async def bare(ctx: JobContext) -> tuple[int, int]:
    """Check without a value."""
    if (FOLDER / "told").exists():
        return 7, ctx.attempt
    tell(f"begin {ctx.stopping}")
    while True:
        await ctx.checkpoint()


@job(name="drain.batch", batch=2, batch_wait=0)
async def batch(items: list[BatchItem[int]]) -> list[tuple[int, int]]:
    """Check for a batch."""
    if (FOLDER / "told").exists():
        return [(7, item.context.attempt) for item in items]
    tell("begin False")
    while True:
        await items[0].context.checkpoint()
